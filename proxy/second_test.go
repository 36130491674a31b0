package proxy

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
)

// secureBackend starts a web server that speaks HTTP/2 over TLS, and perhaps nothing else; the text is its certificate.
func secureBackend(t *testing.T, h http.HandlerFunc, h2 bool) (address, ca string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(!h2)
	s.Config.Protocols.SetHTTP2(h2)
	s.EnableHTTP2 = h2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String(), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func TestServersThatSpeakHTTP2OverTLS(t *testing.T) {
	server, ca := secureBackend(t, dump, true)
	old, oldCA := secureBackend(t, dump, false)
	_, otherCA := server, testCA(t)
	for _, tt := range []struct {
		name    string
		address string
		tls     *upstream.TLSConfig
		status  int
	}{
		{"known authority", server, &upstream.TLSConfig{CA: ca}, 200},
		{"by name", server, &upstream.TLSConfig{CA: ca, Name: "example.com"}, 200},
		{"by a name that it has not", server, &upstream.TLSConfig{CA: ca, Name: "other.test"}, 502},
		{"another authority", server, &upstream.TLSConfig{CA: otherCA}, 502},
		{"the system's authorities", server, nil, 502},
		{"insecure", server, &upstream.TLSConfig{Insecure: true}, 200},
		{"HTTP/1.1 only", old, &upstream.TLSConfig{CA: oldCA}, 502},
		{"no TLS", bilingual(t, dump), &upstream.TLSConfig{Insecure: true}, 502},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s h2=%v", tt.name, h2), func(t *testing.T) {
				w := newWay(t, nil, h2, upstream.H2, func(c *Config) {
					s := c.Services["web"]
					s.Servers, s.TLS = service(tt.address).Servers, tt.tls
					c.Services["web"] = s
				})
				a := w.do(t, "POST", "/x", "content")
				want(t, "status", a.StatusCode, tt.status)
				if tt.status == 200 {
					want(t, "request", strings.HasPrefix(a.text, "POST /x HTTP/2.0\n"), true)
				} else if strings.Contains(a.text, "127.0.0.1") || strings.Contains(a.text, "x509") {
					t.Errorf("the page tells too much: %s", a.text)
				}
			})
		}
	}
}

func testCA(t *testing.T) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testTLS(t).Certificates[0].Certificate[0]}))
}

// What the document says about the servers' protocol counts for the next request.
func TestProtocolOfServersChanges(t *testing.T) {
	w := newWay(t, dump, false, upstream.HTTP, nil)
	for _, p := range []upstream.Protocol{upstream.HTTP, upstream.H2C, upstream.HTTP, upstream.H2C} {
		s := w.config.Services["web"]
		s.Protocol = p
		w.config.Services = map[string]upstream.Config{"web": s}
		w.apply(w.config)
		version := map[upstream.Protocol]string{upstream.HTTP: "HTTP/1.1", upstream.H2C: "HTTP/2.0"}[p]
		for range 3 {
			want(t, string(p), strings.HasPrefix(w.do(t, "PUT", "/", "content").text, "PUT / "+version+"\n"), true)
		}
	}
}

// A server that speaks HTTP/2 gets one connection, which lasts, and is left when it leaves the document.
func TestConnectionsToHTTP2Servers(t *testing.T) {
	var conns atomic.Int32
	var open sync.Map
	s := httptest.NewUnstartedServer(http.HandlerFunc(dump))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
			open.Store(c, true)
		case http.StateClosed:
			open.Delete(c)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	w := newWay(t, nil, true, upstream.H2C, func(c *Config) {
		web := c.Services["web"]
		web.Servers = service(s.Listener.Addr().String()).Servers
		c.Services["web"] = web
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { want(t, "status", w.do(t, "GET", "/", "").StatusCode, 200) })
	}
	all.Wait()
	for range 20 {
		w.do(t, "POST", "/", "content")
		w.apply(w.config)
	}
	want(t, "connections", conns.Load(), 1)
	w.config.Services = map[string]upstream.Config{"web": service(named(t, "other"))}
	w.apply(w.config)
	eventually(t, "no connection", func() bool {
		n := 0
		open.Range(func(any, any) bool { n++; return true })
		return n == 0
	})
}

func TestHTTP2ServerThatFails(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		w := newWay(t, nil, true, upstream.H2C, func(c *Config) {
			s := c.Services["web"]
			s.Servers = service(deadAddress(t)).Servers
			c.Services["web"] = s
		})
		want(t, "status", w.do(t, "POST", "/", "content").StatusCode, 502)
	})
	t.Run("others are tried", func(t *testing.T) {
		alive := bilingual(t, dump)
		everyWay(t, nil, func(c *Config) {
			s := c.Services["web"]
			s.Servers = service(deadAddress(t), deadAddress(t), alive).Servers
			c.Services["web"] = s
		}, func(t *testing.T, w *way) {
			for range 6 {
				a := w.do(t, "POST", "/", "content that has to arrive")
				want(t, "status", a.StatusCode, 200)
				want(t, "length", field(a.text, "Content-Length"), "26")
			}
		})
	})
	for name, text := range map[string]string{"HTTP/1.1 only": "HTTP/1.1 400 Bad Request\r\n\r\n", "garbage": strings.Repeat("x", 1000), "silence": ""} {
		t.Run(name, func(t *testing.T) {
			server := rawBackend(t, func(c net.Conn) {
				io.ReadAtLeast(c, make([]byte, 24), 24)
				io.WriteString(c, text)
			})
			w := newWay(t, nil, false, upstream.H2C, func(c *Config) {
				s := c.Services["web"]
				s.Servers = service(server).Servers
				c.Services["web"] = s
			})
			want(t, "status", w.do(t, "GET", "/", "").StatusCode, 502)
		})
	}
}

// Whatever a server does in the middle of an upload is its own fault, and nobody waits for the rest of the content.
func TestHTTP2ServerThatFailsInAnUpload(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, make([]byte, 10))
		switch r.URL.Path {
		case "/early":
			w.WriteHeader(http.StatusConflict)
			return
		case "/middle":
			w.Write([]byte("begun"))
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	}
	for _, h2 := range []bool{false, true} {
		w := newWay(t, server, h2, upstream.H2C, nil)
		for path, status := range map[string]int{"/before": 502, "/early": 409, "/middle": 200} {
			r, sent := io.Pipe()
			defer sent.Close()
			go io.WriteString(sent, "0123456789")
			req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+path, r)
			res, err := w.client.Do(req)
			if err != nil {
				t.Fatal(path, err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			want(t, path, res.StatusCode, status)
			want(t, path+" breaks off", err != nil, path == "/middle")
			if path == "/middle" {
				want(t, path, string(b), "begun")
			}
			w.logged(t, `"path":"`+path+`"`, fmt.Sprintf(`"status":%d`, status))
		}
	}
}

func TestHealthOfHTTP2Servers(t *testing.T) {
	var status atomic.Int32
	status.Store(200)
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			want(t, "protocol of the check", r.Proto, "HTTP/2.0")
			w.WriteHeader(int(status.Load()))
		}
	}
	secure, ca := secureBackend(t, server, true)
	plain := httptest.NewUnstartedServer(http.HandlerFunc(server))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	health := &health.Config{Path: "/healthz", Interval: 10 * time.Millisecond, Timeout: 20 * time.Second, Rise: 1, Fall: 1}
	r := start(t)
	config, at := r.config()
	config.Services = map[string]upstream.Config{
		"h2":  {Servers: service(secure).Servers, Protocol: upstream.H2, TLS: &upstream.TLSConfig{CA: ca}, Health: health},
		"h2c": {Servers: service(plain.Listener.Addr().String()).Servers, Protocol: upstream.H2C, Health: health},
	}
	config.Routes = []RouteConfig{{Path: "/h2", Service: "h2"}, {Path: "/h2c", Service: "h2c"}}
	r.apply(config)
	c := client(t, false)
	for _, up := range []bool{true, false, true} {
		status.Store(map[bool]int32{true: 200, false: 503}[up])
		for i, path := range []string{"/h2", "/h2c"} {
			eventually(t, fmt.Sprint("up ", up), func() bool { return r.p.Status().Services[i].Servers[0].Up == up })
			code, _ := get(t, c, "http://"+at+path)
			want(t, path, code, map[bool]int{true: 200, false: 503}[up])
		}
	}
}
