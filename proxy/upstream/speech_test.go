package upstream

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tripod/proxy/upstream/health"
)

// speaking starts a server that speaks one version of HTTP only, and counts the connections that it was asked on.
func speaking(t *testing.T, p Protocol, status int) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/h?x=1" || r.Host != "shop.test" || r.UserAgent() != "tripod" {
			status = http.StatusTeapot
		}
		w.WriteHeader(status)
	}))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(p == HTTP)
	protocols.SetUnencryptedHTTP2(p == H2C)
	protocols.SetHTTP2(p == H2)
	s.Config.Protocols = protocols
	if p == H2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// How a service speaks with its servers is how they are asked.
func TestHealthCheckSpeaksTheServicesProtocol(t *testing.T) {
	h2, h2c, h1 := speaking(t, H2, 204), speaking(t, H2C, 204), speaking(t, HTTP, 204)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h2.Certificate().Raw}))
	for _, tt := range []struct {
		name   string
		server *httptest.Server
		config Config
		want   string // in the error, which is something anyway; empty if the check passes
	}{
		{"http", h1, Config{}, ""},
		{"http of an h2c server", h2c, Config{}, " "},
		{"h2c", h2c, Config{Protocol: H2C}, ""},
		{"h2c of an HTTP/1 server", h1, Config{Protocol: H2C}, " "},
		{"h2", h2, Config{Protocol: H2, TLS: &TLSConfig{CA: ca}}, ""},
		{"h2 by another name", h2, Config{Protocol: H2, TLS: &TLSConfig{CA: ca, Name: "example.com"}}, ""},
		{"h2 by a name that the certificate has not", h2, Config{Protocol: H2, TLS: &TLSConfig{CA: ca, Name: "other.test"}}, "certificate"},
		{"h2 that nobody vouches for", h2, Config{Protocol: H2}, "certificate"},
		{"h2 whoever it is", h2, Config{Protocol: H2, TLS: &TLSConfig{Insecure: true}}, ""},
		{"h2 of a server without TLS", h2c, Config{Protocol: H2, TLS: &TLSConfig{Insecure: true}}, " "},
		{"status", speaking(t, H2C, 503), Config{Protocol: H2C}, "answered 503 Service Unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.config
			c.Servers = []ServerConfig{{Address: tt.server.Listener.Addr().String()}}
			c.Health = &health.Config{Path: "/h?x=1", Host: "shop.test", Timeout: 20 * time.Second, Interval: time.Hour}
			p, _ := pool(t, c)
			eventually(t, "the first check", func() bool { return !p.Status()[0].Servers[0].Checking })
			st := p.Status()[0].Servers[0]
			if st.Up != (tt.want == "") || !strings.Contains(st.Error, tt.want) {
				t.Errorf("up %t, error %q, want %q", st.Up, st.Error, tt.want)
			}
		})
	}
}

// A document that changes what the servers speak changes how they are asked.
func TestHealthCheckFollowsTheProtocol(t *testing.T) {
	s := speaking(t, H2C, 204)
	config := Config{
		Servers: []ServerConfig{{Address: s.Listener.Addr().String()}},
		Health:  &health.Config{Path: "/h?x=1", Host: "shop.test", Interval: 5 * time.Millisecond, Timeout: 20 * time.Second},
	}
	p, _ := pool(t, config)
	eventually(t, "a failed check", func() bool { return p.Status()[0].Servers[0].Error != "" })
	config.Protocol = H2C
	commit(p, map[string]Config{"s": config})
	eventually(t, "up", func() bool { return up(p) })
}
