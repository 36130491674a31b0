package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
	"tripod/proxy/web/rule"
)

// unchecked is a service with a server whose first health check does not end, so that requests wait for it.
func unchecked(t *testing.T, p upstream.Protocol) upstream.Config {
	s := service(silentServer(t))
	s.Protocol, s.Health = p, &health.Config{Timeout: time.Minute}
	return s
}

// silentServer takes connections and says nothing.
func silentServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// waits tells whether a request waits for a server.
func (r *rig) waits() bool {
	for _, service := range r.p.Status().Services {
		if service.Queued > 0 {
			return true
		}
	}
	return false
}

// A request that waits for a server goes where the new document says, with its content, by the new document's rules.
func TestWaitingRequestMovesWithTheDocument(t *testing.T) {
	var s reader
	contents := map[string]func() io.Reader{
		"none":    func() io.Reader { return nil },
		"in hand": func() io.Reader { return strings.NewReader("hello") },
		"long":    func() io.Reader { return strings.NewReader(prose(100_000)) },
		"chunked": func() io.Reader { return io.MultiReader(strings.NewReader("hel"), strings.NewReader("lo")) },
	}
	for name, content := range contents {
		t.Run(name, func(t *testing.T) {
			everyWay(t, s.serve, nil, func(t *testing.T, w *way) {
				ready := w.config
				// It waits for a server of the other protocol first, and of a route that changes the path and takes less.
				small := rule.Size(1)
				waiting := w.config
				other := map[upstream.Protocol]upstream.Protocol{upstream.HTTP: upstream.H2C, upstream.H2C: upstream.HTTP}[w.to]
				waiting.Services = map[string]upstream.Config{"first": unchecked(t, other)}
				waiting.Routes = []RouteConfig{{Path: "/way", Service: "first", Rules: rule.Config{StripPrefix: true}}}
				if name == "chunked" { // which is not known to be too much before it moves
					waiting.Routes[0].Rules.MaxBody = &small
				}
				w.apply(waiting)
				done := make(chan answered, 1)
				go func() {
					req, _ := http.NewRequestWithContext(t.Context(), "PUT", w.url+"/way/to", content())
					done <- w.send(t, req)
				}()
				eventually(t, "a request that waits", w.waits)
				w.apply(ready)
				a := <-done
				expected := ""
				if c := content(); c != nil {
					b, _ := io.ReadAll(c)
					expected = string(b)
				}
				want(t, "status", a.StatusCode, 200)
				want(t, "content", a.text == expected, true)
				if expected == "" {
					return
				}
				// And by rules that it did not meet before.
				w.apply(waiting)
				go func() {
					req, _ := http.NewRequestWithContext(t.Context(), "PUT", w.url+"/way/to", content())
					done <- w.send(t, req)
				}()
				eventually(t, "a request that waits", w.waits)
				strict := ready
				strict.Routes = []RouteConfig{{Service: "web", Rules: rule.Config{Common: rule.Common{MaxBody: &small}}}}
				w.apply(strict)
				want(t, "status", (<-done).StatusCode, 413)
			})
		})
	}
}

// Uploads and downloads that are under way go on, whatever the document becomes, and even if their server leaves it.
func TestApplyDisturbsNoContent(t *testing.T) {
	const part, parts = 10_000, 40
	arrived, next := make(chan struct{}, 1), make(chan struct{})
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			arrived <- struct{}{}
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %v", n, err)
			return
		}
		for i := range parts {
			io.WriteString(w, prose(part + i)[i:])
			w.(http.Flusher).Flush()
			<-next
		}
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		changes := []func(*Config){
			func(c *Config) {},
			func(c *Config) { c.Routes = []RouteConfig{{Path: "/elsewhere", Redirect: "https://a.test"}} },
			func(c *Config) { c.Services = map[string]upstream.Config{"web": service(named(t, "other"))} },
			func(c *Config) { c.Routes[0].Rules.Compress = []string{"gzip"} },
			func(c *Config) {
				size := rule.Size(1)
				c.Routes = []RouteConfig{{Service: "web", Rules: rule.Config{Common: rule.Common{MaxBody: &size}}}}
			},
		}
		change := func(i int) {
			c := w.config
			c.Routes = append([]RouteConfig(nil), c.Routes...)
			changes[i%len(changes)](&c)
			w.apply(c)
		}
		r, sent := io.Pipe()
		go func() {
			for i := range parts {
				io.WriteString(sent, prose(part))
				if i == 0 {
					<-arrived
				}
				change(i)
			}
			sent.Close()
		}()
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", w.url, r)
		a := w.send(t, req)
		want(t, "uploaded", a.text, fmt.Sprint(part*parts, " <nil>"))

		w.apply(w.config)
		res, err := w.client.Get(w.url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := make([]byte, part)
		for i := range parts {
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != prose(part + i)[i:] {
				t.Fatalf("part %d: %v", i, err)
			}
			change(i)
			next <- struct{}{}
		}
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("end: %d bytes, %v", len(rest), err)
		}
	})
}
