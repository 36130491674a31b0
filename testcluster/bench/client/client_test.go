//go:build linux

package client_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tripod/testcluster/bench/client"
)

const path = "/small"

// serve starts net/http's server, and returns a plan for it.
func serve(t *testing.T, secure bool, body string) client.Plan {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path || r.Host != "bench.test" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	plan := client.Plan{Target: client.Target{Hosts: []string{"bench.test"}, Path: path, Body: []byte("hello")}, Connections: 4, Streams: 5, For: 100 * time.Millisecond}
	if secure {
		server.EnableHTTP2 = true
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections end in the middle of a handshake
		server.StartTLS()
		plan.Certificate = server.Certificate().Raw
	} else {
		server.Start()
	}
	plan.Address = server.Listener.Addr().String()
	return plan
}

type drive func(context.Context, client.Plan) (client.Result, error)

func TestAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		drive  drive
		secure bool
		rate   float64
	}{
		"plain":      {drive: client.HTTP1},
		"fixed rate": {drive: client.HTTP1, rate: 500},
		"TLS":        {drive: client.HTTP1, secure: true},
		"HTTP/2":     {drive: client.HTTP2, secure: true},
		"handshakes": {drive: client.Handshakes, secure: true},
	} {
		t.Run(name, func(t *testing.T) {
			plan := serve(t, test.secure, "hello")
			plan.Rate = test.rate
			marks := 0
			plan.Mark = func() { marks++ }
			result, err := test.drive(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			if result.Requests == 0 || result.Latency.Count() != result.Requests || result.Took < plan.For || marks != 2 {
				t.Errorf("%d requests in %s, %d latencies, %d marks", result.Requests, result.Took, result.Latency.Count(), marks)
			}
			if most := int64(2 * test.rate * result.Took.Seconds()); most > 0 && result.Requests > most {
				t.Errorf("%d requests in %s, want %.0f a second", result.Requests, result.Took, test.rate)
			}
		})
	}
}

func TestWrongAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		drive  drive
		secure bool
	}{"plain": {client.HTTP1, false}, "TLS": {client.HTTP1, true}, "HTTP/2": {client.HTTP2, true}, "handshakes": {client.Handshakes, true}} {
		for what, wrong := range map[string]struct {
			path, body, want string
		}{
			"status": {"/other", "hello", "404"},
			"bytes":  {path, "hallo", "wrong bytes"},
			"length": {path, "hello!", "6 bytes, want 5"},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				plan := serve(t, test.secure, wrong.body)
				plan.Path = wrong.path
				if _, err := test.drive(t.Context(), plan); err == nil || !strings.Contains(err.Error(), wrong.want) {
					t.Errorf("error %v, want one about %q", err, wrong.want)
				}
			})
		}
	}
}

func TestHold(t *testing.T) {
	plan := serve(t, true, "hello")
	h, err := client.Hold(t.Context(), plan.Target, 50)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Ask(); err != nil {
		t.Error(err)
	}
}

func TestHistogram(t *testing.T) {
	var h, other client.Histogram
	for i := 1; i <= 1000; i++ {
		h.Add(time.Duration(i) * time.Millisecond)
	}
	other.Add(2 * time.Hour)
	for q, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.Quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("quantile %v is %s, want %s", q, got, want)
		}
	}
	if h.Merge(&other); h.Count() != 1001 || h.Quantile(1) < 1000*time.Second {
		t.Errorf("%d durations, the longest %s", h.Count(), h.Quantile(1))
	}
	if got := new(client.Histogram).Quantile(0.5); got != 0 {
		t.Errorf("median of nothing is %s", got)
	}
}
