package cli

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxLines and maxLineBytes bound what waits to be written. A line is as long as a request's path, 64 KiB
	// at most.
	maxLines     = 8192
	maxLineBytes = 4 << 20
	// maxWrite is about how many bytes of lines are written at once.
	maxWrite = 64 << 10
	// flushTime is how long Close waits for a reader.
	flushTime = time.Second
	// sayDropped is how often the log tells that lines were dropped.
	sayDropped = time.Minute
)

// accessLog stands between the access log and its reader, so that a reader that is slow, stuck or gone costs
// lines and never holds up a request. Lines wait in a bounded queue for one goroutine that writes them; what
// finds no place there is dropped and counted.
type accessLog struct {
	out     io.Writer
	log     *slog.Logger
	lines   chan *[]byte
	waiting atomic.Int64 // bytes in lines
	dropped atomic.Uint64
	free    sync.Pool // of *[]byte
	closing chan struct{}
	once    sync.Once
	done    chan struct{} // the writer has returned
}

var _ io.WriteCloser = (*accessLog)(nil)

// openAccessLog starts a queue before out, and adds its count to the registry. What is wrong with out is told to log.
func openAccessLog(out io.Writer, log *slog.Logger, registry prometheus.Registerer) (*accessLog, error) {
	a := &accessLog{
		out: out, log: log, lines: make(chan *[]byte, maxLines),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	a.free.New = func() any { return new([]byte) }
	if err := registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tripod_access_log_dropped_total",
		Help: "Lines of the access log that were dropped because standard output did not take them.",
	}, func() float64 { return float64(a.dropped.Load()) })); err != nil {
		return nil, err
	}
	go a.write()
	return a, nil
}

// Write queues one line, and never waits nor fails. The line is copied: slog reuses it.
func (a *accessLog) Write(line []byte) (int, error) {
	n := int64(len(line))
	if a.waiting.Add(n) > maxLineBytes {
		a.drop(n)
		return len(line), nil
	}
	b := a.free.Get().(*[]byte)
	*b = append((*b)[:0], line...)
	select {
	case a.lines <- b:
	default:
		a.free.Put(b)
		a.drop(n)
	}
	return len(line), nil
}

func (a *accessLog) drop(n int64) {
	a.waiting.Add(-n)
	a.dropped.Add(1)
}

// Close writes the lines that wait, and returns when that is done, or after a second. A writer that is stuck in
// the kernel then cannot be ended, and goes with the process.
func (a *accessLog) Close() error {
	a.once.Do(func() { close(a.closing) })
	late := time.NewTimer(flushTime)
	defer late.Stop()
	select {
	case <-a.done:
	case <-late.C:
	}
	return nil
}

// write is the goroutine that writes.
func (a *accessLog) write() {
	defer close(a.done)
	var batch []byte
	var told uint64 // dropped lines that the log knows of
	var toldAt time.Time
	for {
		select {
		case line := <-a.lines:
			batch = a.take(batch[:0], line)
		case <-a.closing:
			for batch = a.more(batch[:0]); len(batch) > 0; batch = a.more(batch[:0]) {
				if !a.put(batch) {
					break
				}
			}
			return
		}
		a.put(batch)
		if dropped := a.dropped.Load(); dropped > told && time.Since(toldAt) > sayDropped {
			a.log.Warn("lines of the access log were dropped: standard output does not take them", "dropped", dropped)
			told, toldAt = dropped, time.Now()
		}
	}
}

// take puts a line and those behind it into a batch.
func (a *accessLog) take(batch []byte, line *[]byte) []byte {
	batch = append(batch, *line...)
	a.waiting.Add(-int64(len(*line)))
	a.free.Put(line)
	return a.more(batch)
}

// more puts the lines that wait into a batch, as far as it goes.
func (a *accessLog) more(batch []byte) []byte {
	for len(batch) < maxWrite {
		select {
		case line := <-a.lines:
			batch = append(batch, *line...)
			a.waiting.Add(-int64(len(*line)))
			a.free.Put(line)
		default:
			return batch
		}
	}
	return batch
}

// put writes a batch and counts the lines that were not written whole. A broken pipe may be whole again with the
// next line, if it is a named one.
func (a *accessLog) put(batch []byte) bool {
	n, err := a.out.Write(batch)
	if err != nil {
		a.dropped.Add(uint64(bytes.Count(batch[n:], []byte{'\n'})))
	}
	return err == nil
}
