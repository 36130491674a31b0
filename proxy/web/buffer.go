package web

import "sync"

// bufferSize fits the head and a small body of nearly all messages, and one TLS record.
const bufferSize = 16 << 10

// buffer is a piece of memory that is lent out while bytes are in it, and only then: a connection that idles has none.
type buffer struct {
	b    []byte
	r, w int // what is in it: b[r:w]
}

// buffers lends buffers out.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, bufferSize)}
}

// put takes a buffer back. One that had to grow is left to the garbage collector.
func (p *buffers) put(b *buffer) {
	if len(b.b) == bufferSize {
		b.r, b.w = 0, 0
		p.pool.Put(b)
	}
}

// bytes are what is in the buffer.
func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }

// space is where more can be read to, after what is there was moved to the front if need be. It may be empty.
func (b *buffer) space() []byte {
	if b.r == b.w {
		b.r, b.w = 0, 0
	} else if b.w == len(b.b) && b.r > 0 {
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	}
	return b.b[b.w:]
}

// grow makes room for more, up to a limit; false if that is reached. What points to the bytes that were there may go on doing so.
func (b *buffer) grow(limit int) bool {
	if len(b.b) >= limit {
		return false
	}
	larger := make([]byte, min(2*len(b.b), limit))
	b.w = copy(larger, b.b[b.r:b.w])
	b.b, b.r = larger, 0
	return true
}

// set makes p, which was made by appending to what is in the buffer from its beginning, what is in it.
func (b *buffer) set(p []byte) {
	if len(p) > len(b.b) {
		b.b = p[:cap(p)] // it did not fit
	}
	b.w = len(p)
}
