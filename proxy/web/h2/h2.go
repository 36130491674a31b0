// Package h2 is the server's side of HTTP/2 (RFC 9113): a Conn turns what a client sends into Streams, hands each to a Handler, and
// sends what the handler answers.
//
// # Goroutines
//
// The goroutine that calls Serve is the reader: it alone reads from the network, decodes header blocks and looks after the clock. Every
// stream's handler has a goroutine, which is used again for later streams. There is no writer: whoever has frames to send
// appends them to the connection's output, and if nobody is writing, writes all that has gathered there. Under load many
// streams' frames so leave in one system call and one TLS record. The reader never writes itself, for a client that does not read must
// not keep us from reading.
//
// One mutex guards a connection's streams, windows and output. It is never held during I/O or while other packages' code runs.
//
// # Memory
//
// What a client has sent and a handler has not read is bounded by the windows; what waits to be sent by the size at which handlers
// have to wait for the output to drain. Buffers are pooled in the Options, which connections share, and are given back
// when a connection falls silent: an idle connection holds its HPACK tables and little else.
//
// # Abuse
//
// Frames that cost us something and bring nobody forward are paid for from a budget (see budget): it fills by time and by useful
// work, and who overdraws it is sent away with ENHANCE_YOUR_CALM.
package h2

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Handler answers requests.
type Handler interface {
	// ServeStream answers one request, on a goroutine of its own. The stream is over when it returns: an answer that was not ended is
	// reset with INTERNAL_ERROR, or as Reset said; the rest of a request whose answer is complete is declined with NO_ERROR (RFC
	// 9113 §8.1). Neither the stream nor anything it handed out may be used afterwards.
	ServeStream(*Stream)
}

// Options say how connections behave, and hold the buffers that they share: give all connections of a listener the same ones, and do not change
// or copy them once they are in use. Zero fields mean the defaults.
type Options struct {
	// MaxStreams is how many streams a client may have open at once; 250.
	MaxStreams uint32
	// MaxHead limits a decoded field section, each line with the 32 bytes that RFC 9113 §6.5.2 adds; 64 KiB. A request above it is
	// answered with 431.
	MaxHead int
	// HeadTimeout is how long a field section may take from its first byte, and the connection preface as well; 10 s.
	HeadTimeout time.Duration
	// IdleTimeout is how long a connection lives without a stream; 75 s.
	IdleTimeout time.Duration
	// PingAfter is the silence during a stream after which the client is asked for a sign of life; 30 s.
	PingAfter time.Duration
	// PingTimeout is how long it has for that; 15 s.
	PingTimeout time.Duration
	// WriteTimeout is how long a client may take nothing of what there is for it: from the socket, or by leaving its windows
	// closed; 60 s.
	WriteTimeout time.Duration
	// Log is told about handlers that panic; nil discards. How a connection ended is for Serve's caller to log.
	Log *slog.Logger
	// TLS says that connections are TLS, whose records then hold a DATA frame each. A *tls.Conn is known without it. Its Config should
	// have DynamicRecordSizingDisabled, or a connection's first megabyte goes out in small records with a system call each.
	TLS bool

	once    sync.Once
	streams sync.Pool // of *Stream
	inputs  sync.Pool // of *input
	small   sync.Pool // of *output
	large   sync.Pool // of *output
	chunks  sync.Pool // of *chunk
	hello   []byte    // what every connection begins with
}

// resolve sets the defaults, once.
func (o *Options) resolve() {
	o.once.Do(func() {
		if o.MaxStreams == 0 {
			o.MaxStreams = 250
		}
		if o.MaxHead == 0 {
			o.MaxHead = 64 << 10
		}
		for _, d := range []struct {
			value *time.Duration
			def   time.Duration
		}{
			{&o.HeadTimeout, 10 * time.Second},
			{&o.IdleTimeout, 75 * time.Second},
			{&o.PingAfter, 30 * time.Second},
			{&o.PingTimeout, 15 * time.Second},
			{&o.WriteTimeout, time.Minute},
		} {
			if *d.value == 0 {
				*d.value = d.def
			}
		}
		if o.Log == nil {
			o.Log = slog.New(slog.DiscardHandler)
		}
		o.streams.New = func() any { return newStream() }
		o.inputs.New = func() any { return new(input) }
		o.small.New = func() any { return &output{b: make([]byte, 0, smallOutput)} }
		o.large.New = func() any { return &output{b: make([]byte, 0, largeOutput)} }
		o.chunks.New = func() any { return new(chunk) }
		o.hello = appendHello(nil, o)
	})
}

// ErrGone is what a handler meets when there is no client any more to answer: it reset the stream, broke the rules, or the connection ended.
var ErrGone = errors.New("the client has gone")

// errOver is what a handler meets that goes on after it ended or reset its own answer.
var errOver = errors.New("h2: the answer has ended")

// ResetError says that a stream was reset. It is an ErrGone.
type ResetError struct {
	Code     http2.ErrCode
	ByClient bool // rather than by us, because of what the client did
}

func (e *ResetError) Error() string {
	if e.ByClient {
		return fmt.Sprintf("client reset the stream: %v", e.Code)
	}
	return fmt.Sprintf("stream reset: %v", e.Code)
}

// Is makes a ResetError an ErrGone.
func (e *ResetError) Is(target error) bool { return target == ErrGone }

// ConnError says why a connection was ended by us: a GOAWAY with this code went to the client (RFC 9113 §5.4.1).
type ConnError struct {
	Code   http2.ErrCode
	Reason string
}

func (e *ConnError) Error() string { return fmt.Sprintf("end connection: %v: %s", e.Code, e.Reason) }

// Is makes a ConnError an ErrGone, for the handlers whose connection it ended.
func (e *ConnError) Is(target error) bool { return target == ErrGone }

// endError is how all else ends a connection for its handlers: the network's error, or none that anybody knows.
type endError struct{ err error }

func (e *endError) Error() string {
	if e.err == nil {
		return "connection ended"
	}
	return "connection ended: " + e.err.Error()
}

func (e *endError) Unwrap() error        { return e.err }
func (e *endError) Is(target error) bool { return target == ErrGone }
