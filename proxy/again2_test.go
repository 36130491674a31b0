package proxy

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"testing"

	"tripod/proxy/upstream"
)

// second2 adds a server to a service whose first one is asked first.
func second2(t *testing.T, h http.HandlerFunc) func(*Config) {
	return func(c *Config) {
		s := c.Services["web"]
		s.Servers = append(s.Servers, upstream.ServerConfig{Address: bilingual(t, h)})
		s.Balance = upstream.First
		s.Passive = &upstream.PassiveConfig{Failures: new(int)}
		c.Services["web"] = s
	}
}

// Servers that speak HTTP/2 are made good for as others are: content that is in hand goes to the next one.
func TestContentGoesToTheNextServerOverHTTP2(t *testing.T) {
	w := newWay(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}, false, upstream.H2C, second2(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	for method, status := range map[string]int{"PUT": 200, "DELETE": 200, "POST": 502} {
		a := w.do(t, method, "/", "the content")
		if a.StatusCode != status || status == 200 && a.text != "the content" {
			t.Errorf("%s: %d %q", method, a.StatusCode, a.text)
		}
	}
}

// Once the client has got anything of an answer, the request is not sent again, not even if that was but informational.
func TestNothingIsSentAgainAfterAnInformationalAnswer(t *testing.T) {
	var seen atomic.Int32
	everyWay(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		w.Header().Set("Link", "</style>")
		w.WriteHeader(103)
		panic(http.ErrAbortHandler)
	}, second2(t, func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }), func(t *testing.T, w *way) {
		seen.Store(0)
		var infos atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
			infos.Add(1)
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, "GET", w.url, nil)
		a := w.send(t, req)
		if a.StatusCode != 502 || infos.Load() != 1 || seen.Load() != 1 {
			t.Errorf("%d, %d informational answers, seen %d times", a.StatusCode, infos.Load(), seen.Load())
		}
	})
}

// What a server is called is read while the document changes.
func TestNamesUnderRequests(t *testing.T) {
	w := newWay(t, func(w http.ResponseWriter, r *http.Request) {}, false, upstream.H2C, nil)
	var all sync.WaitGroup
	var asked atomic.Int32
	all.Go(func() {
		for range 300 {
			want(t, "status", w.do(t, "GET", "/", "").StatusCode, 200)
			asked.Add(1)
		}
	})
	for i := 0; asked.Load() < 300; i = (i + 1) % 100 {
		c := w.config
		s := c.Services["web"]
		weight := i + 1
		s.Servers = []upstream.ServerConfig{{Address: s.Servers[0].Address, Weight: &weight}}
		c.Services = map[string]upstream.Config{"web": s}
		w.apply(c)
	}
	all.Wait()
}
