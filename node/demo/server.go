package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// greeting begins every answer of a sample server; its name follows.
const greeting = "hello from "

// Serve is a sample web server: it says its name, and at /healthz that it is well.
func Serve(ctx context.Context, name, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("sample server %s: %w", name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s%s\n%s %s for %s, by way of %s\n", greeting, name, r.Method, r.URL.Path, r.Header.Get("X-Forwarded-For"), r.RemoteAddr)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("sample server %s: %w", name, err)
	}
	return nil
}
