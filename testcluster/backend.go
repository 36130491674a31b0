package testcluster

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Backend is a web server behind the cluster. It answers with its name, and with its health at /healthz.
type Backend struct {
	*httptest.Server
	Name     string
	requests atomic.Int64
	sick     atomic.Bool
}

// StartBackend starts a web server; handler nil answers with the server's name.
func StartBackend(t testing.TB, name string, handler http.Handler) *Backend {
	t.Helper()
	b := &Backend{Name: name}
	if handler == nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if b.sick.Load() {
				http.Error(w, "sick", http.StatusServiceUnavailable)
			}
			return
		}
		b.requests.Add(1)
		w.Header().Set("X-Server", name)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(b.Server.Close)
	return b
}

// Address is the server's host:port.
func (b *Backend) Address() string { return b.Listener.Addr().(*net.TCPAddr).String() }

// Requests is how many requests, other than health checks, have come.
func (b *Backend) Requests() int64 { return b.requests.Load() }

// SetHealthy decides how the server answers health checks.
func (b *Backend) SetHealthy(healthy bool) { b.sick.Store(!healthy) }
