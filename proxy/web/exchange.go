package web

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"tripod/proxy/upstream"
)

// statusClientGone is nginx's code for a client that went away before its answer; it is only ever logged.
const statusClientGone = 499

// exchange is one request and its answer.
type exchange struct {
	front    *Front
	listener *Listener
	table    *Table
	w        http.ResponseWriter
	r        *http.Request
	start    time.Time
	id       string
	client   string // address without port
	uri      string // origin form of the target, as sent
	route    *route
	server   *upstream.Server
	moves    int // times that the document changed under it

	status int
	bytes  int64
	// abort breaks the client's connection (HTTP/1.1) or stream (HTTP/2), so that it sees that the answer is
	// not whole.
	abort bool

	body  requestBody
	trace httptrace.ClientTrace
	mu    sync.Mutex // guards w's header against late informational answers
	final bool       // no informational answer any more
	infos int
	own   [6]string // values of the fields that we set
}

// ServeHTTP answers one request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	defer f.requests.Add(-1)
	x := &exchange{
		front: f, listener: f.listener.Load(), table: f.engine.table.Load(),
		w: w, r: r, start: time.Now(), id: newID(), client: clientIP(r.RemoteAddr),
	}
	x.serve()
	x.finish()
	if x.abort {
		panic(http.ErrAbortHandler) // the documented way to break off an answer
	}
}

// serve finds out who answers.
func (x *exchange) serve() {
	r := x.r
	if r.ProtoMajor == 1 && r.ProtoMinor > 1 || r.Method == "PRI" { // the latter is HTTP/2's preface, where it was not agreed on
		x.refuse(http.StatusHTTPVersionNotSupported, "this version of HTTP is not served here")
		return
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		x.page(http.StatusMethodNotAllowed, "this method is not served here")
		return
	}
	var ok bool
	if x.uri, ok = target(r.RequestURI); !ok {
		x.refuse(http.StatusBadRequest, "the request target is not valid")
		return
	}
	if x.listener.RedirectHTTPS {
		x.redirectHTTPS()
		return
	}
	if x.find(); x.route == nil || x.route.service == nil {
		x.answerSelf()
		return
	}
	x.forward()
}

// find looks up the route.
func (x *exchange) find() {
	x.route = x.table.find(normalHost(x.r.Host), normalPath(x.r.URL.Path))
}

// answerSelf answers where no service does.
func (x *exchange) answerSelf() {
	if x.route == nil {
		x.page(http.StatusNotFound, "no route for this host and path")
		return
	}
	to := x.route.redirect
	if x.route.keepURI {
		to += x.uri
	}
	x.redirect(to)
}

// finish counts and logs the exchange.
func (x *exchange) finish() {
	took := time.Since(x.start)
	stats := x.table.stats[""]
	if x.route != nil {
		stats = x.route.stats
	}
	stats.observe(x.listener.Name, x.status, took)
	if log := x.front.engine.opts.AccessLog; log != nil && x.table.accessLog {
		x.logAccess(log, took)
	}
}

func (x *exchange) logAccess(log *slog.Logger, took time.Duration) {
	ctx := context.Background()
	if !log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	path, _ := splitTarget(x.uri) // no query: it may hold secrets
	var service, server string
	if x.route != nil && x.route.service != nil {
		service = x.route.service.Name()
	}
	if x.server != nil {
		server = x.server.Address()
	}
	log.LogAttrs(ctx, slog.LevelInfo, "request",
		slog.String("id", x.id),
		slog.String("client", x.client),
		slog.String("method", x.r.Method),
		slog.String("host", x.r.Host),
		slog.String("path", path),
		slog.String("protocol", x.r.Proto),
		slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("service", service),
		slog.String("server", server),
		slog.String("listener", x.listener.Name),
	)
}

// newID returns a request id: 100 random bits. It is for finding a request in logs, not for guarding anything.
func newID() string {
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	var out [20]byte
	var full [26]byte
	base32.HexEncoding.WithPadding(base32.NoPadding).Encode(full[:], raw[:])
	for i := range out {
		out[i] = full[i] | 0x20 // lower case; digits have the bit already
	}
	return string(out[:])
}

// clientIP cuts port and zone off a remote address.
func clientIP(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		remote = remote[:i]
	}
	remote = strings.TrimSuffix(strings.TrimPrefix(remote, "["), "]")
	remote, _, _ = strings.Cut(remote, "%")
	return remote
}
