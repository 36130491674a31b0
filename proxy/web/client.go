package web

import (
	"tripod/proxy/web/message"
)

// client is the side of an exchange that asked, in whatever version of HTTP. But for content and trailers, which another
// goroutine may use, it belongs to the exchange's own.
type client interface {
	// content returns the next part of the request's content; it is good until the next call. The error is io.EOF at its end, *h1.Error for what
	// breaks the rules, a timeout, or the connection's.
	content() ([]byte, error)
	// ended tells whether what content returned last was the rest; false may also mean that this is not known yet.
	ended() bool
	// trailers are the fields behind the content, when it has ended.
	trailers() []message.Field
	// whole appends the content if it has come whole and fits; otherwise nothing is taken.
	whole(b []byte, most int) ([]byte, bool)
	// interrupt makes content return, now and later. Any goroutine may call it.
	interrupt()

	// inform sends an informational answer.
	inform(status int, fields []message.Field) error
	// respond begins the answer, with content of a length that may be message.Unknown; without content a length is only told, unless it is
	// Unknown. It may stay here until flush.
	respond(status int, fields []message.Field, length int64, content bool) error
	// write sends a part of the content. It may stay here until flush, and p has to stay as it is until the next call.
	write(p []byte) error
	// flush sends what has stayed here.
	flush() error
	// finish ends the answer, and flushes.
	finish(trailers []message.Field) error
	// splice carries n bytes of content from a server's connection without their passing through here. ok is false when the client's
	// side does not allow it, and nothing was done.
	splice(from *input, n int64) (done int64, ok bool, err error)

	// breaker breaks the answer off, and whoever waits for the client to take it, when its deadline is set to the past.
	breaker() interrupter

	// limit says how long parts of the content may take, in both directions, where that is not the engine's default.
	limit(l *limits)
	// waiting says that a server is waited for, and that the client may be found to have gone meanwhile.
	waiting(yes bool)
	// last says that the connection is to end after the answer, where that is to be told: the request's content is not read to its end, or
	// the socket closes. It comes before respond.
	last()
	// tunnel switches to another protocol: the answer's head, and then both directions as they come.
	tunnel(fields []message.Field, server *serverConn) (sent int64, err error)
}

// clientError is a failure of the client's side.
type clientError struct{ err error }

func (e *clientError) Error() string { return "client: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }
