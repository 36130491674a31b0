package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// way is a proxy between a client of one version of HTTP and a server of one.
type way struct {
	*rig
	config Config
	at     string // host:port
	url    string
	client *http.Client
	h2     bool // what the client speaks
	to     upstream.Protocol
}

// everyWay runs a test with clients and servers of both versions. The document is changed before it is served.
func everyWay(t *testing.T, h http.HandlerFunc, change func(*Config), test func(*testing.T, *way)) {
	t.Helper()
	for _, h2 := range []bool{false, true} {
		for _, to := range []upstream.Protocol{upstream.HTTP, upstream.H2C} {
			t.Run(fmt.Sprintf("h2=%v to %s", h2, to), func(t *testing.T) {
				w := newWay(t, h, h2, to, change)
				test(t, w)
			})
		}
	}
}

// newWay opens one way. The client's side is TLS if it is HTTP/2.
func newWay(t *testing.T, h http.HandlerFunc, h2 bool, to upstream.Protocol, change func(*Config)) *way {
	t.Helper()
	w := &way{rig: start(t), h2: h2, to: to, client: client(t, h2)}
	w.config, w.at = w.rig.config(bilingual(t, h))
	l := w.config.Listeners["http"]
	w.url = "http://" + w.at
	if h2 {
		l.TLS, w.url = true, "https://"+w.at
	}
	w.config.Listeners["http"] = l
	s := w.config.Services["web"]
	s.Protocol = to
	w.config.Services["web"] = s
	if change != nil {
		change(&w.config)
	}
	w.apply(w.config)
	return w
}

// bilingual starts a web server that speaks HTTP/1.1 and HTTP/2 without TLS.
func bilingual(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// withRules gives the first route rules.
func withRules(rules rule.Config) func(*Config) {
	return func(c *Config) { c.Routes[0].Rules = rules }
}

// answered is an answer, read to its end.
type answered struct {
	*http.Response
	text string
	err  error // of reading it
}

// do sends a request of the given method, target and content, with fields in pairs of name and value; Host is one of them.
func (w *way) do(t *testing.T, method, target, content string, fields ...string) answered {
	t.Helper()
	var body io.Reader
	if content != "" {
		body = strings.NewReader(content)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, w.url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = target
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
		} else {
			req.Header.Add(fields[i], fields[i+1])
		}
	}
	return w.send(t, req)
}

func (w *way) send(t *testing.T, req *http.Request) answered {
	t.Helper()
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answered{res, string(b), err}
}

// logged waits for a line of the access log with all of the texts.
func (r *rig) logged(t *testing.T, texts ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("a line of the access log with %q", texts), func() bool {
		for line := range strings.Lines(r.access.String()) {
			all := true
			for _, text := range texts {
				all = all && strings.Contains(line, text)
			}
			if all {
				return true
			}
		}
		return false
	})
}
