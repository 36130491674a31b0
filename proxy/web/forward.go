package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"tripod/proxy/upstream"
)

const (
	// maxTries bounds how many servers are tried for one request, and triesTime for how long new tries begin.
	maxTries  = 32
	triesTime = 10 * time.Second
	// maxMoves is how often a request that waits for a server follows the document.
	maxMoves = 8
	// maxInfos is how many informational answers are passed on for one request.
	maxInfos = 16
)

// forward passes the request to a server and its answer to the client.
func (x *exchange) forward() {
	x.prepare()
	out := x.request()
	defer x.body.end(x)
	cookie := x.stickyCookie()
	var few [4]*upstream.Server
	tried := few[:0]
	var fault error
	for {
		server, err := x.route.service.Acquire(x.r.Context(), cookie, tried)
		if errors.Is(err, upstream.ErrGone) && len(tried) == 0 && x.moves < maxMoves {
			// The document changed while the request waited for a server.
			x.moves++
			x.table = x.front.engine.table.Load()
			if x.find(); x.route == nil || x.route.service == nil {
				x.answerSelf()
				return
			}
			cookie = x.stickyCookie()
			continue
		}
		if err != nil {
			if fault == nil {
				fault = err
			}
			x.fail(fault)
			return
		}
		if err = x.try(server, out, cookie); err == nil {
			return
		}
		var dial *dialError
		if !errors.As(err, &dial) || x.r.Context().Err() != nil {
			x.fail(err)
			return
		}
		x.front.engine.log.LogAttrs(x.r.Context(), slog.LevelDebug, "connect to server",
			slog.String("id", x.id), slog.String("server", server.Address()), slog.Any("error", err))
		fault, tried = err, append(tried, server)
		if len(tried) >= maxTries || time.Since(x.start) > triesTime {
			x.fail(fault)
			return
		}
	}
}

// try sends the request to a server and passes its answer on, if there is one.
func (x *exchange) try(server *upstream.Server, out *http.Request, cookie string) error {
	defer server.Release()
	x.server = server
	b := x.front.engine.backend(server)
	defer b.done()
	out.URL.Host = server.Address()
	res, err := b.transport.RoundTrip(out)
	if err != nil {
		return err
	}
	x.answer(res, cookie)
	return nil
}

// request makes the request to the server from the client's.
func (x *exchange) request() *http.Request {
	r := x.r
	ctx := r.Context()
	if r.ProtoAtLeast(1, 1) { // HTTP/1.0 has no informational answers (RFC 9110 §15.2)
		x.trace.Got1xxResponse = x.inform
		ctx = httptrace.WithClientTrace(ctx, &x.trace)
	}
	out := r.WithContext(ctx)
	out.URL = &url.URL{Scheme: "http"}
	path, query := splitTarget(x.uri)
	if strings.HasPrefix(path, "//") {
		// An opaque part that begins so would be taken for an authority.
		out.URL.Path, out.URL.RawPath = r.URL.Path, path
	} else {
		out.URL.Opaque = path
	}
	out.URL.RawQuery, out.URL.ForceQuery = query, query == "" && len(path) < len(x.uri)
	out.RequestURI = ""
	out.Close = false
	out.Trailer = nil
	if r.ContentLength == 0 {
		out.Body = nil
		return out
	}
	x.body.open(x)
	out.Body, out.Trailer = &x.body, x.body.trailer
	if r.ProtoMajor == 1 {
		// Let the answer begin before the request has ended.
		http.NewResponseController(x.w).EnableFullDuplex()
	}
	return out
}

// stickyCookie returns the value of the service's sticky cookie that the client sent.
func (x *exchange) stickyCookie() string {
	name := x.route.service.StickyCookie()
	if name == "" {
		return ""
	}
	if c, err := x.r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

// inform passes an informational answer on. It runs in a goroutine of the transport.
func (x *exchange) inform(code int, header textproto.MIMEHeader) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final {
		return nil
	}
	if x.infos++; x.infos > maxInfos {
		return errors.New("too many informational answers")
	}
	if code == http.StatusContinue && !x.body.expected {
		return nil // the client did not ask for it
	}
	h := x.w.Header()
	for name, values := range header {
		if code != http.StatusContinue && !slices.Contains(hopByHop[:], name) {
			h[name] = values
		}
	}
	x.w.WriteHeader(code)
	clear(h)
	return nil
}

// lastWord ends informational answers: what follows is the final one.
func (x *exchange) lastWord() {
	x.mu.Lock()
	x.final = true
	x.mu.Unlock()
}

// answer passes the server's answer on.
func (x *exchange) answer(res *http.Response, cookie string) {
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.upgrade(res, cookie)
		return
	}
	defer res.Body.Close()
	x.lastWord()
	x.body.answered()
	h := x.answerHeader(res, cookie)
	if x.front.leaving.Load() || x.r.ProtoMajor == 1 && x.body.unfinished() {
		h["Connection"] = []string{"close"} // on HTTP/2 net/http says it with GOAWAY
	}
	announced := len(res.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range res.Trailer {
			names = append(names, name)
		}
		slices.Sort(names)
		h["Trailer"] = []string{strings.Join(names, ", ")}
	}
	x.status = res.StatusCode
	x.w.WriteHeader(res.StatusCode)
	if x.r.Method != http.MethodHead && res.Body != http.NoBody {
		if err := x.copyBody(res); err != nil {
			x.broken(err)
			return
		}
	}
	x.trailers(res, announced)
}

// answerHeader fills in the client's header from the server's.
func (x *exchange) answerHeader(res *http.Response, cookie string) http.Header {
	dropHopByHop(res.Header)
	h := x.w.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http guesses one
	}
	x.own[5] = x.id
	h["X-Request-Id"] = x.own[5:6:6]
	if name := x.route.service.StickyCookie(); name != "" {
		if value := x.server.Cookie(); value != cookie {
			c := http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: x.r.TLS != nil, SameSite: http.SameSiteLaxMode}
			h["Set-Cookie"] = append(h["Set-Cookie"], c.String())
		}
	}
	return h
}

// trailers passes what follows the body. Fields that were not announced go with a prefix that tells
// net/http so.
func (x *exchange) trailers(res *http.Response, announced int) {
	if len(res.Trailer) == 0 {
		return
	}
	h := x.w.Header()
	all := len(res.Trailer) == announced
	if announced == 0 {
		// An answer that has ended without a body written would be sent with a length, which takes no trailers.
		x.w.(http.Flusher).Flush()
	}
	for name, values := range res.Trailer {
		if !all {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// broken ends an answer whose body did not come to its end.
func (x *exchange) broken(err error) {
	x.abort = true
	if x.r.Context().Err() != nil || errors.As(err, new(*clientError)) {
		x.status = statusClientGone
		return
	}
	x.front.engine.log.LogAttrs(x.r.Context(), slog.LevelInfo, "answer broke off",
		slog.String("id", x.id), slog.String("service", x.route.service.Name()),
		slog.String("server", x.server.Address()), slog.Any("error", err))
}

// fail answers a request that no server answered.
func (x *exchange) fail(err error) {
	x.lastWord()
	if fault := x.body.fault(); fault != nil {
		if isTimeout(fault) {
			x.page(http.StatusRequestTimeout, "the request's body did not come in time")
			return
		}
		x.status, x.abort = statusClientGone, true
		return
	}
	if x.r.Context().Err() != nil {
		x.status, x.abort = statusClientGone, true
		return
	}
	status, text := http.StatusBadGateway, "the server gave no valid answer"
	switch {
	case errors.Is(err, upstream.ErrNoneUp):
		status, text = http.StatusServiceUnavailable, "no server is up"
	case errors.Is(err, upstream.ErrFull):
		status, text = http.StatusServiceUnavailable, "every server is busy"
	case isTimeout(err):
		status, text = http.StatusGatewayTimeout, "the server did not answer in time"
	case errors.As(err, new(*dialError)):
		text = "the server cannot be reached"
	}
	if status == http.StatusServiceUnavailable {
		x.w.Header()["Retry-After"] = []string{"2"}
	}
	server := ""
	if x.server != nil {
		server = x.server.Address()
	}
	x.front.engine.log.LogAttrs(x.r.Context(), slog.LevelInfo, "request failed",
		slog.Int("status", status), slog.String("id", x.id), slog.String("service", x.route.service.Name()),
		slog.String("server", server), slog.Any("error", err))
	x.page(status, text)
}

// isTimeout tells whether an error means that somebody took too long.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// clientError is a failure of the client's connection.
type clientError struct{ err error }

func (e *clientError) Error() string { return "client: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

var _ io.ReadCloser = (*requestBody)(nil)
