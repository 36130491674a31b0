package api

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health is what the admin pages ask of a node.
type Health interface {
	// Live: the process works; its error says what does not.
	Live() error
	// Ready: the node serves the document and may hold VIPs; its error says what is missing.
	Ready() error
	Status(ctx context.Context) Status
}

// NewAdmin makes the admin pages: plain HTTP, read only, for monitoring on the same machine.
//
//	/metrics  Prometheus
//	/healthz  200 while the process works
//	/readyz   200 while the node serves the document and takes part in the cluster, else 503 and why
//	/         the status as a page
func NewAdmin(health Health, gatherer prometheus.Gatherer, log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), MaxRequestsInFlight: 4, EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /healthz", probe(health.Live))
	mux.HandleFunc("GET /readyz", probe(health.Ready))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		status := health.Status(r.Context())
		if strings.Contains(r.Header.Get("Accept"), "application/json") {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(status)
			return
		}
		var text strings.Builder
		status.WriteText(&text, time.Now())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		fmt.Fprintf(w, page, html.EscapeString(status.AskedOf), html.EscapeString(text.String()))
	})
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       2 * headTimeout,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.Background() },
	}
}

const page = `<!doctype html><html lang="en"><head><title>tripod %s</title><meta http-equiv="refresh" content="2">
<style>body{font:14px/1.4 ui-monospace,monospace;margin:2em;color-scheme:light dark}</style></head>
<body><pre>%s</pre><p><a href="/metrics">/metrics</a> <a href="/healthz">/healthz</a> <a href="/readyz">/readyz</a></p></body></html>
`

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
