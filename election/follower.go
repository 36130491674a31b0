package election

import (
	"context"
	"io"
	"time"
)

// follower keeps a stream from one peer and signals what happens to it.
type follower struct {
	detector *Detector
	peer     *peer
}

// Bounds of a follower.
const (
	dialTimeout = time.Second          // of one attempt; suspicion does not wait for it
	readPause   = 5 * time.Millisecond // between two reads, however much the peer sends
)

// run dials again and again until it is told to stop.
func (f *follower) run(ctx context.Context) {
	defer f.detector.workers.Done()
	for ctx.Err() == nil {
		if f.follow(ctx) {
			continue // a connection that has worked: dial again at once
		}
		if !pause(ctx, f.detector.cfg.Redial) {
			return
		}
	}
}

// follow makes one connection and reads it to its end. It tells whether the peer sent anything.
func (f *follower) follow(ctx context.Context) bool {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	// The stream may be bound to the context of its dial, so that this must last as long. The time
	// limit is for the dial alone: a stream without a byte is what Silence is for.
	streaming, end := context.WithCancel(ctx)
	defer end()
	limit := context.AfterFunc(dialing, end)
	stream, err := f.detector.cfg.Dial(streaming, f.peer.name)
	inTime := limit()
	cancel()
	if err == nil && !inTime {
		_ = stream.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		if !inTime && ctx.Err() == nil {
			err = context.DeadlineExceeded
		}
		f.signal(ctx, signal{f.peer, signalFailed, err})
		return false
	}
	f.signal(ctx, signal{f.peer, signalConnected, nil})
	f.peer.hangUp.Store(&end)
	defer f.peer.hangUp.Store(nil)
	hangUp := context.AfterFunc(streaming, func() { _ = stream.Close() })
	heard, err := f.listen(ctx, stream)
	if hangUp() {
		_ = stream.Close()
	}
	f.signal(ctx, signal{f.peer, signalBroken, err})
	return heard
}

// listen reads a stream to its end.
func (f *follower) listen(ctx context.Context, stream io.Reader) (bool, error) {
	var buffer [64]byte
	heard := false
	for {
		n, err := stream.Read(buffer[:])
		if n > 0 {
			heard = true
			f.signal(ctx, signal{f.peer, signalBeat, nil})
		}
		if err != nil {
			return heard, err
		}
		if !pause(ctx, readPause) {
			return heard, ctx.Err()
		}
	}
}

// signal hands a signal to the Detector.
func (f *follower) signal(ctx context.Context, s signal) {
	select {
	case f.detector.signals <- s:
	case <-ctx.Done():
	}
}

// pause waits, and tells whether the context is still alive.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
