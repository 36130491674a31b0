package h1

import (
	"bytes"
	"io"
	"strings"

	"tripod/proxy/web/message"
)

// Chunked takes the chunked coding off (RFC 9112 §7.1). The zero value is at the beginning of a first chunk. Extensions are read over: they are
// for one hop only.
type Chunked struct {
	// Trailers are the fields after the last chunk, when Decode has returned io.EOF. They are copies.
	Trailers []message.Field

	left   int64 // of the chunk's data
	excess int   // bytes of framing beyond what is fair, so far
	seen   int   // how much of the trailers was there when they were last found to be incomplete
	state  chunkState
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd // the CRLF behind the data
	chunkTrailers
	chunkDone
)

// Decode looks at the bytes that are there, and returns the first piece of content in them, which is a part of buf, with the number of bytes, from the
// beginning of buf, that it and the framing before it take. No content and no bytes taken mean that more is needed. At the end
// the error is io.EOF, with what the end took. Any other error is an *Error.
//
// What is needed more never exceeds a line of MostChunkLine bytes, or the trailer section, which whoever holds the buffer limits.
func (c *Chunked) Decode(buf []byte) (data []byte, n int, err error) {
	for {
		switch c.state {
		case chunkSize:
			used, size, err := chunkLine(buf[n:])
			if err != nil || used == 0 {
				return nil, n, err
			}
			n += used
			if !c.fair(used, size) {
				return nil, n, bad("more chunk framing than content", "RFC 9112 §7.1.1")
			}
			c.left, c.state = size, chunkData
			if size == 0 {
				c.state = chunkTrailers
			}
		case chunkData:
			rest := buf[n:]
			if len(rest) == 0 {
				return nil, n, nil
			}
			if int64(len(rest)) > c.left {
				rest = rest[:c.left]
			}
			c.left -= int64(len(rest))
			if c.left == 0 {
				c.state = chunkEnd
			}
			return rest, n + len(rest), nil
		case chunkEnd:
			rest := buf[n:]
			if len(rest) > 0 && rest[0] != '\r' || len(rest) > 1 && rest[1] != '\n' {
				return nil, n, bad("a chunk that is longer than its size", "RFC 9112 §7.1")
			}
			if len(rest) < 2 {
				return nil, n, nil
			}
			n += 2
			c.state = chunkSize
		case chunkTrailers:
			if !c.grown(buf[n:]) {
				return nil, n, nil
			}
			used, err := c.trailers(buf[n:])
			if err == ErrIncomplete {
				c.seen = len(buf) - n
				return nil, n, nil
			}
			if err != nil {
				return nil, n, err
			}
			c.state = chunkDone
			return nil, n + used, io.EOF
		default:
			return nil, n, io.EOF
		}
	}
}

// Done tells whether the end has been read.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// fair counts the framing of a chunk, and tells whether there is not too much of it: extensions could make any content as dear to
// read as one likes (RFC 9112 §7.1.1). Chunks of a single byte are fair, since content may come so.
func (c *Chunked) fair(line int, size int64) bool {
	const (
		free = 16 // bytes for each chunk, and twice its size
		most = 16 << 10
	)
	c.excess = max(0, c.excess+line+len("\r\n")-free-2*int(min(size, most)))
	return c.excess <= most
}

// grown tells whether there is another line of the trailers than when they were looked at last. Looking at all of them
// for each byte would let a sender make many trailers as dear as their square.
func (c *Chunked) grown(section []byte) bool {
	const few = 1 << 10 // bytes
	return len(section) <= few || c.seen > len(section) || bytes.IndexByte(section[c.seen:], '\n') >= 0
}

// chunkLine reads the line before a chunk's data. It takes no bytes when the line is not complete.
func chunkLine(buf []byte) (used int, size int64, err error) {
	const mostDigits = 15 // fewer than 2^63 in any case
	i := 0
	for i < len(buf) && classes[buf[i]]&hexByte != 0 {
		if i == mostDigits {
			return 0, 0, bad("a chunk size that is too large", "RFC 9112 §7.1")
		}
		size = size<<4 | int64(hexValue(buf[i]))
		i++
	}
	if i == len(buf) {
		return 0, 0, nil
	}
	if i == 0 {
		return 0, 0, bad("a chunk without a size", "RFC 9112 §7.1")
	}
	if buf[i] == ';' {
		for i < len(buf) && classes[buf[i]]&valueByte != 0 {
			i++
		}
		if i > MostChunkLine {
			return 0, 0, bad("chunk extensions that are too long", "RFC 9112 §7.1.1")
		}
	}
	if i < len(buf) && buf[i] != '\r' {
		if buf[i] == '\n' {
			return 0, 0, badValue('\n')
		}
		return 0, 0, bad("a chunk size that is followed by something else than an extension or the line's end", "RFC 9112 §7.1")
	}
	if i+1 >= len(buf) {
		return 0, 0, nil
	}
	if buf[i+1] != '\n' {
		return 0, 0, badValue('\r')
	}
	return i + 2, size, nil
}

// trailers reads the section behind the last chunk. Fields that would frame or route the message elsewhere are left out of it (RFC 9110 §6.5.1).
func (c *Chunked) trailers(buf []byte) (int, error) {
	if len(buf) >= 2 && buf[0] == '\r' && buf[1] == '\n' {
		return 2, nil
	}
	s := section{length: -1}
	used, err := s.parse(buf, 0)
	if err != nil {
		return 0, err
	}
	c.Trailers = make([]message.Field, len(s.fields))
	for i, f := range s.fields {
		c.Trailers[i] = message.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value), Kind: f.Kind}
	}
	return used, nil
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
