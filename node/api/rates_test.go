package api

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tripod/proxy/web/rate"
)

// counting is a node of which only the rates are asked for.
type counting struct {
	Node
	journal *rate.Journal
}

func (c counting) StreamRates(ctx context.Context, from rate.Position, send func([]byte) error) error {
	return c.journal.Stream(ctx, from, send)
}

// TestRatesStream reads a node's stream through a socket; it ends when the server closes, and what is asked for has to make sense.
func TestRatesStream(t *testing.T) {
	here, there := rate.NewSet(nil), rate.NewSet(nil)
	var limits [2]*rate.Limit
	for i, s := range []*rate.Set{here, there} {
		p := s.Plan()
		limits[i] = p.Limit(rate.Spec{Rate: rate.Rate{Count: 1, Per: time.Hour}, Burst: 10, By: "client"})
		p.Commit()
	}
	node := counting{journal: here.Journal()}
	writing, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { node.journal.Run(writing) })
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(node, nil, nil)
	server.Serve(l)
	client := NewSocketClient(socket)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	for range 10 {
		limits[0].Take(7, 0)
	}
	source := there.Source()
	stream, err := client.Rates(ctx, source.Position())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	in := bufio.NewReader(stream)
	for source.Position().Next == 0 {
		if err := source.Read(in); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := limits[1].Take(7, there.Clock(time.Now())); ok {
		t.Error("what was spent at one node is not spent at the other")
	}
	for _, query := range []string{"", "?epoch=1", "?epoch=x&next=1", "?epoch=1&next=-1"} {
		response, err := client.http.Get("http://tripod/v1/rates" + query)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: status %d, want 400", query, response.StatusCode)
		}
	}
	if err := server.Close(ctx); err != nil {
		t.Error(err)
	}
	for err = nil; err == nil; {
		err = source.Read(in)
	}
	if ctx.Err() != nil || strings.Contains(err.Error(), "batch") {
		t.Errorf("the stream ended with %v", err)
	}
}
