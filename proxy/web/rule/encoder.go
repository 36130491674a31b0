package rule

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// How hard answers are compressed while a client waits for them: the levels behind which a further per cent costs far more time
// than the network gives back. With these each running answer keeps 0.7 to 0.9 MB in memory.
const (
	gzipLevel    = 4
	brotliLevel  = 3
	brotliWindow = 16      // as a power of two
	zstdWindow   = 1 << 17 // a browser takes up to 8 MiB (RFC 9659 §3)
	// maxEncoders are at work at a time. Clients that read slowly, or not at all, cost bandwidth then and not memory.
	maxEncoders = 256
)

// Compressor keeps the encoders that are not at work. The zero value is ready, and must not be copied after its first use.
type Compressor struct {
	pools   [encodings]sync.Pool
	running atomic.Int32
}

// coder is what the libraries' writers have in common.
type coder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

var (
	_ coder = (*gzip.Writer)(nil)
	_ coder = (*brotli.Writer)(nil)
	_ coder = (*zstd.Encoder)(nil)
)

// Encoder compresses one answer's content. One goroutine uses it at a time.
type Encoder struct {
	from     *Compressor
	encoding Encoding
	coder    coder
}

// errEnded is the error of whoever writes after the end.
var errEnded = errors.New("write content: the encoder was closed")

// Encoder returns an encoder that writes to w. It is nil for Identity, and if too many are at work: then the content goes out as it is. So it
// is asked for before the answer's head is written. It has to be ended with Close or Discard.
func (c *Compressor) Encoder(e Encoding, w io.Writer) *Encoder {
	if e == Identity || e >= encodings {
		return nil
	}
	if c.running.Add(1) > maxEncoders {
		c.running.Add(-1)
		return nil
	}
	in, ok := c.pools[e].Get().(coder)
	if !ok {
		in = newCoder(e)
	}
	in.Reset(w)
	return &Encoder{c, e, in}
}

func newCoder(e Encoding) coder {
	switch e {
	case Brotli:
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindow})
	case Zstd:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		if err != nil {
			panic("rule: " + err.Error()) // options that are constants
		}
		return z
	}
	g, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic("rule: " + err.Error())
	}
	return g
}

// Write compresses p. Some of it may stay in the encoder until Flush or Close.
func (e *Encoder) Write(p []byte) (int, error) {
	if e.coder == nil {
		return 0, errEnded
	}
	return e.coder.Write(p)
}

// Flush writes what the client needs to read everything so far. It is called when the server pauses, or an answer that comes in
// parts would reach the client late.
func (e *Encoder) Flush() error {
	if e.coder == nil {
		return errEnded
	}
	return e.coder.Flush()
}

// Close writes the end of the content. It does nothing the second time.
func (e *Encoder) Close() error {
	if e.coder == nil {
		return nil
	}
	err := e.coder.Close()
	e.release()
	return err
}

// Discard gives up without writing an end, for content that broke off: the client must not take it for whole.
func (e *Encoder) Discard() {
	if e.coder != nil {
		e.release()
	}
}

// release puts the encoder back, without what it wrote to.
func (e *Encoder) release() {
	e.coder.Reset(io.Discard)
	e.from.pools[e.encoding].Put(e.coder)
	e.from.running.Add(-1)
	e.coder = nil
}
