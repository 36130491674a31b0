package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tripod/node/config"
	"tripod/node/etcd"
	"tripod/tls"
)

const (
	beatInterval = 100 * time.Millisecond
	maxBody      = 3 * config.MaxSize // a document in JSON's escapes; most are far below
	headTimeout  = 5 * time.Second
)

// Membership answers nodes that start.
type Membership interface {
	Report() etcd.Report
	Admit(ctx context.Context, request etcd.JoinRequest) (etcd.JoinReply, error)
}

// Documents keeps and applies the document.
type Documents interface {
	Document(ctx context.Context) (config.Version, error)
	Apply(ctx context.Context, request ApplyRequest) (ApplyReply, error)
	History(ctx context.Context) ([]config.Version, error)
	DocumentAt(ctx context.Context, revision int64) (config.Version, error)
}

// Certificates keeps what the proxy's clients see.
type Certificates interface {
	ListCertificates() []tls.Info
	AuthorityPEM() ([]byte, error)
	AddCertificate(ctx context.Context, upload CertificateUpload) (CertificateReply, error)
	RemoveCertificate(ctx context.Context, name string) error
}

// Observer tells how things are.
type Observer interface {
	Local() Local
	Status(ctx context.Context) Status
	// Started fails while the node starts: it may be listed as ready from before, and is not yet.
	Started() error
	// Subscribe returns events from now on, until cancel is called. A subscriber that does not keep up loses events.
	Subscribe() (events <-chan Event, cancel func())
}

// CertificateUpload is a certificate of the user's own.
type CertificateUpload struct {
	Name string `json:"name"` // empty: the certificate's first host
	Cert string `json:"cert"` // PEM chain, leaf first
	Key  string `json:"key"`  // PEM
}

// CertificateReply is what was stored.
type CertificateReply struct {
	Certificate tls.Info `json:"certificate"`
	Warnings    []string `json:"warnings,omitempty"`
}

// Node is everything that the API offers.
type Node interface {
	Membership
	Documents
	Certificates
	Observer
	Operators
	Handovers
	Rates
	Servers
}

// Server serves the node API on any number of listeners.
type Server struct {
	node Node
	log  *slog.Logger
	http *http.Server
	life context.Context
	stop context.CancelFunc
	done sync.WaitGroup
}

// NewServer makes a server for a node. Failed is told of connections that fail, such as by a wrong secret; log
// nil discards.
func NewServer(node Node, failed *stdlog.Logger, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{node: node, log: log}
	s.life, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          failed,
		BaseContext:       func(net.Listener) context.Context { return s.life },
	}
	return s
}

// Serve serves a listener, already wrapped in TLS where that is due, until Close.
func (s *Server) Serve(l net.Listener) {
	s.done.Go(func() {
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("node API stopped", "address", l.Addr().String(), "error", err)
		}
	})
}

// Close ends the streams, lets running requests finish until ctx ends, and closes the listeners.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(*http.Request) (any, error)) { mux.HandleFunc("GET "+path, answer(f)) }
	get("/v1/phase", func(*http.Request) (any, error) { return s.node.Report(), nil })
	get("/v1/local", func(*http.Request) (any, error) { return s.node.Local(), nil })
	get("/v1/status", func(r *http.Request) (any, error) { return s.node.Status(r.Context()), nil })
	get("/v1/config", func(r *http.Request) (any, error) { return s.node.Document(r.Context()) })
	get("/v1/config/history", func(r *http.Request) (any, error) { return s.node.History(r.Context()) })
	get("/v1/config/history/{revision}", func(r *http.Request) (any, error) {
		revision, err := strconv.ParseInt(r.PathValue("revision"), 10, 64)
		if err != nil {
			return nil, Fail(http.StatusBadRequest, fmt.Errorf("revision %q is not a number", r.PathValue("revision")))
		}
		return s.node.DocumentAt(r.Context(), revision)
	})
	get("/v1/certs", func(*http.Request) (any, error) { return s.node.ListCertificates(), nil })
	get("/v1/certs/authority", func(*http.Request) (any, error) {
		pem, err := s.node.AuthorityPEM()
		return string(pem), err
	})
	mux.HandleFunc("PUT /v1/config", withBody(s.node.Apply))
	mux.HandleFunc("POST /v1/join", withBody(s.node.Admit))
	mux.HandleFunc("PUT /v1/certs", withBody(s.node.AddCertificate))
	mux.HandleFunc("DELETE /v1/certs/{name}", answer(func(r *http.Request) (any, error) {
		return struct{}{}, s.node.RemoveCertificate(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /v1/drain", withBody(s.node.Drain))
	mux.HandleFunc("POST /v1/move", withBody(s.node.MoveVIP))
	get("/v1/holds/{node}", s.holds)
	s.serverRoutes(mux)
	mux.HandleFunc("POST /v1/prepare", withBody(s.node.PrepareMove))
	mux.HandleFunc("POST /v1/forward", withBody(s.node.Forward))
	mux.HandleFunc("POST /v1/acknowledge", s.acknowledge)
	mux.HandleFunc("GET /v1/beat", s.beat)
	mux.HandleFunc("GET /v1/rates", s.rates)
	mux.HandleFunc("GET /v1/events", s.events)
	return mux
}

// answer serves what f returns as JSON.
func answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply, err := f(r)
		if err != nil {
			writeFailure(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply) // the connection is gone, and with it whoever asked
	}
}

// withBody reads a bounded JSON body and serves what f makes of it.
func withBody[Q, A any](f func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(30 * time.Second)) // not offered by test recorders
		answer(func(r *http.Request) (any, error) {
			var q Q
			d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
			if err := d.Decode(&q); err != nil {
				var tooLarge *http.MaxBytesError
				if errors.As(err, &tooLarge) {
					return nil, Fail(http.StatusRequestEntityTooLarge, fmt.Errorf("request is larger than %d bytes", maxBody))
				}
				return nil, Fail(http.StatusBadRequest, fmt.Errorf("read request: %w", err))
			}
			return f(r.Context(), q)
		})(w, r)
	}
}

// acknowledge takes a node's word that it has dropped a VIP, from that node alone: a right to hold rests on it.
func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request) {
	withBody(func(ctx context.Context, a Acknowledgement) (AcknowledgementReply, error) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != a.From {
			return AcknowledgementReply{}, Fail(http.StatusForbidden, fmt.Errorf("only %s itself can acknowledge for it", a.From))
		}
		return s.node.Acknowledged(ctx, a), nil
	})(w, r)
}

// beat sends a byte at a fixed rhythm: as long as it arrives, the process lives and gets its share of the CPU. There is none
// before the node has started, or others would rely on one that was killed and is on its way up.
func (s *Server) beat(w http.ResponseWriter, r *http.Request) {
	if err := s.node.Started(); err != nil {
		writeFailure(w, err)
		return
	}
	control := http.NewResponseController(w)
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for {
		if _, err := io.WriteString(w, "."); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// events streams what happens on the node, a JSON object per line.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	events, cancel := s.node.Subscribe()
	defer cancel()
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	if control.Flush() != nil {
		return
	}
	encoder := json.NewEncoder(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-events:
			if encoder.Encode(e) != nil || control.Flush() != nil {
				return
			}
		}
	}
}
