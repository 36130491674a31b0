package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// errPanic is why content is not carried on by a goroutine that panicked.
var errPanic = errors.New("carrying the request's content panicked")

// survive ends a panic: a mistake that a stranger finds costs his connection, and not the node with all that it holds. It has to be
// what is deferred itself.
func (e *Engine) survive(client string) {
	if p := recover(); p != nil {
		e.panicked(client, p)
	}
}

// survive is the same for the goroutine that carries an exchange's content: the exchange fails.
func (send *sending) survive(x *exchange) {
	if p := recover(); p != nil {
		x.engine.panicked(x.peer, p)
		send.fail(errPanic)
	}
}

// surviveCall is the same for a call from somebody else's goroutine, which gets an error.
func (e *Engine) surviveCall(client string, err *error) {
	if p := recover(); p != nil {
		e.panicked(client, p)
		*err = errPanic
	}
}

func (e *Engine) panicked(client string, p any) {
	e.log.LogAttrs(context.Background(), slog.LevelError, "connection panicked",
		slog.String("client", client), slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
}
