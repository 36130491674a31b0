package h2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/message"
)

// client returns an ordinary client over one connection, and what its URLs begin with.
func client(t testing.TB, s *server, config *tls.Config) (c *http.Client, url string) {
	t.Helper()
	tr := &http.Transport{
		DisableCompression: true,
		Protocols:          new(http.Protocols),
		DialContext:        func(_ context.Context, network, _ string) (net.Conn, error) { return net.Dial(network, s.addr()) },
		TLSClientConfig:    config,
	}
	t.Cleanup(tr.CloseIdleConnections)
	if config == nil {
		tr.Protocols.SetUnencryptedHTTP2(true)
		return &http.Client{Transport: tr}, "http://h2.test"
	}
	tr.Protocols.SetHTTP2(true)
	return &http.Client{Transport: tr}, "https://h2.test"
}

// echo answers with the request's content and trailers, and what its head was in fields.
func echo(s *h2.Stream) {
	r := s.Request()
	fields := []message.Field{
		{Name: "Method", Value: r.Method}, {Name: "Target", Value: r.Target}, {Name: "Authority", Value: r.Host},
		{Name: "Length", Value: fmt.Sprint(r.Length)}, {Name: "Trailer", Value: "Sum"},
	}
	if i := slices.IndexFunc(r.Fields, func(f message.Field) bool { return f.Kind == message.Cookie }); i >= 0 {
		fields = append(fields, message.Field{Name: "Saw-Cookie", Value: r.Fields[i].Value})
	}
	if s.Respond(200, fields, false) != nil {
		return
	}
	buf := make([]byte, 20<<10)
	for {
		n, err := s.Read(buf)
		if s.Write(buf[:n], false) != nil {
			return
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return
		}
	}
	_ = s.End(append(s.Trailers(), message.Field{Name: "Sum", Value: "done"}))
}

func TestExchange(t *testing.T) {
	srv, cl := certificate(t)
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprint("tls=", secure), func(t *testing.T) {
			var s *server
			if secure {
				s = serveWith(t, &h2.Options{TLS: true}, srv, echo)
			} else {
				s, cl = serve(t, nil, echo), nil
			}
			c, url := client(t, s, cl)
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() { exchange(t, c, url, i) })
			}
			wg.Wait()
		})
	}
}

func exchange(t *testing.T, c *http.Client, url string, i int) {
	body := bytes.Repeat([]byte{byte(i)}, i*i*i*20)
	r, err := http.NewRequest("POST", fmt.Sprint(url, "/some/path?i=", i), io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		t.Error(err)
		return
	}
	r.Header.Set("Cookie", "a=b")
	r.Header.Add("Cookie", "c=d")
	r.Trailer = http.Header{"Asked": {"for"}}
	res, err := c.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d: got %d bytes of %d, error %v", i, len(got), len(body), err)
	}
	for name, want := range map[string]string{
		"Method": "POST", "Target": fmt.Sprint("/some/path?i=", i), "Authority": "h2.test", "Length": "-1", "Saw-Cookie": "a=b; c=d",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if res.Trailer.Get("Sum") != "done" || res.Trailer.Get("Asked") != "for" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

func TestManySmall(t *testing.T) {
	s := serve(t, nil, func(s *h2.Stream) {
		body := []byte(strings.Repeat("x", 100))
		_ = s.Respond(200, []message.Field{{Name: "Content-Type", Value: "text/plain"}, {Name: "Content-Length", Value: "100"}}, false)
		_ = s.Write(body, true)
	})
	c, url := client(t, s, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 200 {
				res, err := c.Get(url + "/")
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(res.Body)
				if err != nil || len(got) != 100 || res.Header.Get("Content-Type") != "text/plain" {
					t.Errorf("got %d bytes, %v, %v", len(got), err, res.Header)
				}
				_ = res.Body.Close()
			}
		})
	}
	wg.Wait()
}

// Clients that go away in the midst of everything disturb nobody else.
func TestChaos(t *testing.T) {
	s := serve(t, nil, func(s *h2.Stream) {
		s.Watch(&watched{})
		echo(s)
		if s.ID()%4 == 1 {
			s.Watch(nil)
		}
	})
	body := bytes.Repeat([]byte("chaos"), 60000)
	var wg sync.WaitGroup
	for n := range 4 {
		c, url := client(t, s, nil)
		for i := range 10 {
			wg.Go(func() {
				for k := range 12 {
					ctx, cancel := context.WithCancel(t.Context())
					r, err := http.NewRequestWithContext(ctx, "POST", url, io.MultiReader(bytes.NewReader(body[:len(body)/(k+1)])))
					if err != nil {
						t.Error(err)
					}
					res, err := c.Do(r)
					switch {
					case err != nil:
						t.Error(err)
					case (n+i+k)%3 == 0:
						_, _ = io.CopyN(io.Discard, res.Body, int64(k*1000))
						cancel()
					default:
						got, err := io.ReadAll(res.Body)
						if err != nil || len(got) != len(body)/(k+1) {
							t.Errorf("got %d octets, error %v", len(got), err)
						}
					}
					if err == nil {
						_ = res.Body.Close()
					}
					cancel()
				}
			})
		}
	}
	wg.Wait()
	wait(t, "the handlers", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.conns {
			if c.Streams() > 0 {
				return false
			}
		}
		return true
	})
}
