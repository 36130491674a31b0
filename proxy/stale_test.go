package proxy

import (
	"io"

	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// The time for an answer begins anew with each server that is asked, also on a connection that idled: what the server before has spent of it is
// not this one's.
func TestSecondServerHasItsOwnTime(t *testing.T) {
	const limit, answers = 300 * time.Millisecond, 50 * time.Millisecond
	r := start(t)
	var hangs atomic.Bool
	bad := backend(t, func(w http.ResponseWriter, req *http.Request) {
		if hangs.Load() {
			<-req.Context().Done()
		}
	})
	good := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(answers)
		io.WriteString(w, "good")
	})
	c, at := r.config(bad, good)
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Passive = &upstream.PassiveConfig{Failures: new(int)}
	s.Rules.Timeouts = &rule.TimeoutsConfig{FirstByte: ms(int(limit.Milliseconds()))}
	c.Services["web"] = s
	r.apply(c)
	b := client(t, false)
	get := func() (int, string) {
		res, err := b.Get("http://" + at)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	// The good server gets a request, so that there is a connection to it that idles.
	hangs.Store(true)
	if status, text := get(); status != 200 || text != "good" {
		t.Fatalf("on a new connection: %d %q", status, text)
	}
	for i := range 3 {
		if status, text := get(); status != 200 || text != "good" {
			t.Errorf("on a connection that idled, %d: %d %q", i, status, text)
		}
	}
	if f := r.p.Status().Services[0].Servers[1].Faults; f != 0 {
		t.Errorf("faults of the good server: %d", f)
	}
}

// The same of the time that connecting to the server before has taken: nobody has seen the request, so it is a POST's too.
func TestServerAfterOneThatCannotBeReachedHasItsOwnTime(t *testing.T) {
	const limit, answers = 300 * time.Millisecond, 50 * time.Millisecond
	r := start(t)
	full := deafAddress(t)
	good := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(answers)
		io.WriteString(w, "good")
	})
	c, at := r.config(full, good)
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Passive = &upstream.PassiveConfig{Failures: new(int)}
	s.Rules.Timeouts = &rule.TimeoutsConfig{Connect: ms(400), FirstByte: ms(int(limit.Milliseconds()))}
	c.Services["web"] = s
	r.apply(c)
	b := client(t, false)
	for i := range 3 {
		res, err := b.Post("http://"+at, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || string(text) != "good" {
			t.Errorf("POST %d: %d %q", i, res.StatusCode, text)
		}
	}
}

// The same of the time that a request has waited for its turn.
func TestRequestThatHasWaitedHasItsOwnTime(t *testing.T) {
	const limit, answers = 300 * time.Millisecond, 200 * time.Millisecond
	r := start(t)
	good := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(answers)
		io.WriteString(w, "good")
	})
	c, at := r.config(good)
	s := c.Services["web"]
	s.Servers[0].MaxConnections = 1
	s.Rules.Timeouts = &rule.TimeoutsConfig{FirstByte: ms(int(limit.Milliseconds()))}
	c.Services["web"] = s
	r.apply(c)
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			res, err := client(t, false).Post("http://"+at, "text/plain", nil)
			if err != nil {
				t.Error(err)
				return
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 || string(text) != "good" {
				t.Errorf("POST %d: %d %q", i, res.StatusCode, text)
			}
		})
	}
	all.Wait()
}
