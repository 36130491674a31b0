package etcd

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapBridge hands etcd's zap records to slog. Etcd reports its daily business as info and every slow disk or
// silent peer as a warning, several times a second; both become debug here, because tripod says the same once
// and in words for its own users. Errors stay visible as warnings: what is an error to us, we report.
type zapBridge struct {
	log    *slog.Logger
	quiet  *atomic.Bool // while etcd closes, it reports its own closed listeners as errors
	fields []zapcore.Field
}

var _ zapcore.Core = (*zapBridge)(nil)

// newZap makes the logger that etcd writes to. Etcd calls Fatal where its data cannot be opened; the hook
// turns the exit of the process into a panic, which startServer recovers and turns into an error.
func newZap(log *slog.Logger, quiet *atomic.Bool) *zap.Logger {
	return zap.New(&zapBridge{log: log.With("component", "etcd"), quiet: quiet}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

func (b *zapBridge) level(l zapcore.Level) slog.Level {
	if l >= zapcore.ErrorLevel {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Enabled leaves etcd's own debug records out: they are about single transactions.
func (b *zapBridge) Enabled(l zapcore.Level) bool {
	return l > zapcore.DebugLevel && !b.quiet.Load() && b.log.Enabled(context.Background(), b.level(l))
}

func (b *zapBridge) With(fields []zapcore.Field) zapcore.Core {
	return &zapBridge{log: b.log, quiet: b.quiet, fields: append(b.fields[:len(b.fields):len(b.fields)], fields...)}
}

func (b *zapBridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return ce.AddCore(e, b)
	}
	return ce
}

func (b *zapBridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range b.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	b.log.LogAttrs(context.Background(), b.level(e.Level), strings.TrimSpace(e.Message), attrs...)
	return nil
}

func (b *zapBridge) Sync() error { return nil }
