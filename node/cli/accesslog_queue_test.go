package cli

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// gated is a writer that takes nothing until it is opened.
type gated struct {
	open chan struct{}
	text strings.Builder
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.open
	return g.text.Write(p)
}

// Close waits for a slow reader, and what was queued is not what slog has made of its buffer since.
func TestAccessLogFlushes(t *testing.T) {
	out := &gated{open: make(chan struct{})}
	a, err := openAccessLog(out, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	buf := make([]byte, 0, 64)
	for i := range 1000 {
		buf = fmt.Appendf(buf[:0], "line %d\n", i)
		want.Write(buf)
		a.Write(buf)
	}
	closed := make(chan struct{})
	go func() {
		a.Close()
		close(closed)
	}()
	<-a.closing // set by Close
	close(out.open)
	<-closed
	<-a.done
	if got := out.text.String(); got != want.String() {
		t.Errorf("%d bytes, want %d: %.200q", len(got), want.Len(), got)
	}
	if n := a.dropped.Load(); n != 0 {
		t.Errorf("%d lines were dropped", n)
	}
}

// What waits is bounded by number and by size.
func TestAccessLogIsBounded(t *testing.T) {
	for _, size := range []int{10, 64 << 10} {
		out := &gated{open: make(chan struct{})}
		a, err := openAccessLog(out, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		line := []byte(strings.Repeat("x", size-1) + "\n")
		const lines = 40000
		for range lines {
			if n, err := io.Writer(a).Write(line); n != size || err != nil {
				t.Fatal(n, err)
			}
		}
		dropped := a.dropped.Load()
		close(out.open)
		a.Close()
		<-a.done
		written := strings.Count(out.text.String(), "\n")
		// One batch was on its way.
		if most := min(maxLines, maxLineBytes/size) + 2*(maxWrite/size+1); written > most || written+int(dropped) != lines {
			t.Errorf("size %d: %d written, at most %d, and %d dropped, of %d", size, written, most, dropped, lines)
		}
	}
}
