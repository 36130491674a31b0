//go:build linux

package outage

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each fault, as somebody sees it who asks the server itself; and afterwards it is well again.
func TestServersFail(t *testing.T) {
	stage := testStage(t)
	for i, f := range allFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			b := newBackend(stage.Address(i+1)+":"+serverPort, stage.Server)
			if err := b.start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.kill() })
			l := newLoad(b.address, f.large)
			ask := func(number, method string) (string, time.Duration) {
				r := &request{number: number, method: method}
				l.one(r)
				return r.failed, r.took
			}
			if failed, _ := ask("before", "GET"); failed != "" {
				t.Fatalf("before the fault: %s", failed)
			}
			if err := f.begin(b); err != nil {
				t.Fatal(err)
			}
			// A new connection: what became of the old one depends on what was first.
			l.idle = nil
			part, seen, least := map[string]string{
				"crash": "connection refused", "refuse": "connection refused", "garbage": "malformed HTTP", "reset": "connection reset", "close": "EOF", "503": "503",
				"cut": "broken after 3 bytes: ", "cut100k": "broken after ", "slow": "",
			}[f.name], 1, time.Duration(0)
			switch f.name {
			case "crash", "refuse":
				seen = 0
			case "slow":
				least = slowness
			case "hang", "frozen":
				waits(t, f, b, l)
				return
			}
			if failed, took := ask("during", "POST"); !strings.Contains(failed, part) || (failed == "") != (part == "") || took < least {
				t.Errorf("during the fault after %s: %q, want %q", took, failed, part)
			}
			if err := f.end(b); err != nil {
				t.Fatal(err)
			}
			l.idle = nil
			if failed, _ := ask("after", "POST"); failed != "" {
				t.Errorf("after the fault: %s", failed)
			}
			awaitSeen(b, "after")
			if before, during, after := len(b.times("before")), len(b.times("during")), len(b.times("after")); before != 1 || during != seen || after != 1 {
				t.Errorf("the server saw %d, %d and %d, want 1, %d and 1", before, during, after, seen)
			}
		})
	}
}

// awaitSeen waits until a request is noted: whoever has its answer may be faster than what the server says of it.
func awaitSeen(b *backend, number string) {
	for deadline := time.Now().Add(orderTime); len(b.times(number)) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// waits is about servers that do not answer until they are well again: one that hung then closes, and one that was stopped answers.
func waits(t *testing.T, f *fault, b *backend, l *load) {
	over := make(chan *request)
	go func() {
		r := &request{number: "during", method: "POST"}
		l.one(r)
		over <- r
	}()
	if f.name == "hang" {
		awaitSeen(b, "during")
	}
	select {
	case r := <-over:
		t.Errorf("the server answered: %q", r.failed)
		return
	case <-time.After(100 * time.Millisecond):
	}
	if err := f.end(b); err != nil {
		t.Fatal(err)
	}
	if r := <-over; (r.failed == "") != (f.name == "frozen") {
		t.Errorf("when the server was well again: %q", r.failed)
	}
	awaitSeen(b, "during")
	if n := len(b.times("during")); n != 1 {
		t.Errorf("the server saw the request %d times", n)
	}
}

// A server that ends by itself is an error, and not a wait.
func TestServerThatEnds(t *testing.T) {
	stage := testStage(t)
	b := newBackend(stage.Address(50)+":"+serverPort, stage.Server)
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	if err := b.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-b.done
	if err := b.turn(hang); err == nil || !strings.Contains(err.Error(), b.address) {
		t.Errorf("%v", err)
	}
	_ = b.kill()
	taken := newBackend("192.0.2.1:1", stage.Server)
	if err := taken.start(); err == nil || !strings.Contains(err.Error(), "bind") {
		t.Errorf("an address that is not ours: %v", err)
	}
}
