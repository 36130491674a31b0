package web

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

// spliceMin is from how much content on it is worth to let the kernel carry it.
const spliceMin = 64 << 10

// passed are the server's fields that the client gets.
func (x *exchange) passed() []message.Field {
	fields := x.fields[:0]
	for _, f := range x.res.Fields {
		if !x.res.EndsHere(f) && (f.Kind != message.Provenance || !message.EqualFold(f.Name, "x-request-id")) { // which we say
			fields = append(fields, f)
		}
	}
	x.fields = fields
	return fields
}

// ownFields adds ours to an answer's fields, and applies the rules.
func (x *exchange) ownFields(fields []message.Field) []message.Field {
	fields = append(fields, message.Field{Name: "X-Request-Id", Value: x.id})
	if x.rules != nil {
		fields = x.rules.EditResponse(fields, &x.vars)
	}
	return fields
}

// stick adds the cookie that keeps the client on its server.
func (x *exchange) stick(fields []message.Field) []message.Field {
	sticky := x.route.service.Sticky()
	if sticky == nil || x.choice.Cookie == x.server.Tag() && !x.renew {
		return fields
	}
	return append(fields, message.Field{Name: "Set-Cookie", Value: sticky.Cookie(x.server, x.proto == "https", time.Now()).String(), Kind: message.SetCookie})
}

// answer passes the server's answer on. It tells whether the connection can be used again. The error is nil: the client's answer has
// begun, and what fails later breaks it off.
func (x *exchange) answer(s *serverConn) (keep bool, err error) {
	content := message.HasContent(x.req.Method, x.res.Status)
	if err := x.answerHead(content); err != nil {
		x.broken(err)
		return false, nil
	}
	// What is announced behind a 204 may come or not (RFC 9112 §6.1).
	keep = !x.res.Close && (x.res.Status != 204 || !x.res.Chunked && x.res.Length <= 0)
	var trailers []message.Field
	switch {
	case !content:
	case x.res.Chunked:
		trailers, err = x.passChunks(s)
	case x.res.Length == message.Unknown:
		keep, err = false, x.passAll(s)
	default:
		err = x.passLength(s, x.res.Length)
	}
	if err == nil {
		err = x.endAnswer(trailers)
	}
	if err != nil {
		x.broken(err)
		return false, nil
	}
	x.server.Answered(x.status)
	return keep && len(s.in.bytes()) == 0, nil
}

// answerHead begins the client's answer with the server's head.
func (x *exchange) answerHead(content bool) error {
	if x.front.leaving.Load() || x.send.unfinished() {
		x.client.last()
	}
	x.status = x.res.Status
	fields, length := x.pack(x.passed(), content)
	fields = x.stick(x.ownFields(fields))
	x.fields = fields
	if err := x.client.respond(x.status, fields, length, content); err != nil {
		return &clientError{err}
	}
	return nil
}

// endAnswer ends the client's answer.
func (x *exchange) endAnswer(trailers []message.Field) error {
	if x.packing.encoder != nil {
		if err := x.endPacked(); err != nil {
			return err
		}
	}
	if err := x.client.finish(trailers); err != nil {
		return &clientError{err}
	}
	return nil
}

// pass sends a part of the content.
func (x *exchange) pass(p []byte) error {
	if x.packing.encoder != nil {
		if _, err := x.packing.encoder.Write(p); err != nil {
			return err
		}
		return x.passPacked(false)
	}
	x.bytes += int64(len(p))
	if err := x.client.write(p); err != nil {
		return &clientError{err}
	}
	return nil
}

// flushPassed sends what was passed.
func (x *exchange) flushPassed() error {
	if x.packing.encoder != nil {
		if err := x.packing.encoder.Flush(); err != nil {
			return err
		}
		if err := x.passPacked(true); err != nil {
			return err
		}
	}
	if err := x.client.flush(); err != nil {
		return &clientError{err}
	}
	return nil
}

// more sends what was passed, and waits for more.
func (x *exchange) more(s *serverConn) error {
	if err := x.flushPassed(); err != nil {
		return err
	}
	return x.readMore(s)
}

// readMore waits for more of the content. The server may be silent for longer while the request's content still comes.
func (x *exchange) readMore(s *serverConn) error {
	for {
		err := x.readPart(s)
		if err == nil || !isTimeout(err) || !x.send.hasMoved(x.limits.stall) {
			return err
		}
		s.readBy.forget()
	}
}

// readPart is readMore within the limit.
func (x *exchange) readPart(s *serverConn) error {
	x.now = time.Now()
	if s.readBy.read(s.tcp, x.now, x.limits.stall) && x.link.isGone() {
		return &clientError{errGone} // the deadline that said so may have been overwritten
	}
	err := s.in.read()
	if err != nil && x.link.isGone() {
		return &clientError{errGone}
	}
	return err
}

// passLength carries content of a known length.
func (x *exchange) passLength(s *serverConn, left int64) error {
	for {
		p := s.in.bytes()
		if int64(len(p)) > left {
			p = p[:left]
		}
		if len(p) > 0 {
			if err := x.pass(p); err != nil {
				return err
			}
			s.in.take(len(p))
			left -= int64(len(p))
		}
		if left == 0 {
			return nil
		}
		if left >= spliceMin && x.packing.encoder == nil {
			n, ok, err := x.client.splice(&s.in, left)
			if ok {
				s.readBy.forget()
				x.bytes += n
				if err == nil && n < left {
					err = errEarly
				}
				return err
			}
		}
		if err := x.more(s); err != nil {
			return early(err)
		}
	}
}

// passAll carries content that ends with the connection.
func (x *exchange) passAll(s *serverConn) error {
	for {
		if p := s.in.bytes(); len(p) > 0 {
			if err := x.pass(p); err != nil {
				return err
			}
			s.in.take(len(p))
		}
		if err := x.more(s); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// passChunks carries chunked content, and returns the trailers.
func (x *exchange) passChunks(s *serverConn) ([]message.Field, error) {
	s.chunks = h1.Chunked{}
	for {
		p, n, err := s.chunks.Decode(s.in.bytes())
		if len(p) > 0 {
			if err := x.pass(p); err != nil {
				return nil, err
			}
		}
		if n > 0 {
			s.in.take(n)
		}
		if err == io.EOF {
			return trailing(s.chunks.Trailers), nil
		}
		if err != nil {
			return nil, err
		}
		if n > 0 && len(s.in.bytes()) > 0 {
			continue
		}
		if err := x.flushPassed(); err != nil { // before making space moves what a client may have kept
			return nil, err
		}
		if s.in.buf != nil && len(s.in.buf.space()) == 0 && !s.in.buf.grow(maxHead) {
			return nil, errTrailers
		}
		if err := x.readMore(s); err != nil {
			return nil, early(err)
		}
	}
}

// early turns the end of a connection in the middle of an answer into a failure.
func early(err error) error {
	if err == io.EOF {
		return errEarly
	}
	return err
}

// broken ends an answer whose content did not come to its end.
func (x *exchange) broken(err error) {
	x.abort = true
	if x.link.isLate() {
		err = errLate
	} else if _, ok := err.(*clientError); ok || x.link.isGone() {
		x.status = statusClientGone
		return
	}
	x.fault = err
	if x.serversFault(err) {
		x.server.Failed(err)
	}
	if cancels(err) {
		x.second.code = http2.ErrCodeCancel
	}
	if err != errLate {
		x.client.flush() // so that it is seen that there was an answer: who gets none may ask again
	}
	x.engine.log.LogAttrs(context.Background(), slog.LevelInfo, "answer broke off",
		slog.String("id", x.id), slog.String("service", x.route.service.Name()),
		slog.String("server", x.server.Address()), slog.Any("error", err))
}

// upgrade joins the client with a server that agreed to change the protocol (RFC 9110 §7.8): to one of those that were offered, and not before
// the request has ended.
func (x *exchange) upgrade(s *serverConn) error {
	if x.res.Upgrade == "" || !offered(x.req.Upgrade, x.res.Upgrade) || x.send.unfinished() || !x.accepted() {
		return errSwitched
	}
	x.req.Upgrade = x.res.Upgrade
	if x.send.started {
		<-x.send.done // the protocol changes behind the request (RFC 9110 §7.8)
	}
	x.status = 101
	x.server.Answered(x.status)
	sent, err := x.client.tunnel(x.stick(x.ownFields(x.passed())), s)
	x.bytes += sent
	if err != nil {
		x.engine.log.LogAttrs(context.Background(), slog.LevelDebug, "upgraded connection ended",
			slog.String("id", x.id), slog.Any("error", err))
	}
	return nil
}

// offered tells whether a protocol is one of a list.
func offered(list, protocol string) bool {
	for token, rest, ok := message.NextToken(list); ok; token, rest, ok = message.NextToken(rest) {
		if strings.EqualFold(token, protocol) {
			return true
		}
	}
	return false
}
