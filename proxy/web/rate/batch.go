package rate

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// maxEntries is of how many buckets one batch tells at most.
	maxEntries = 2048
	// maxBatch is the most bytes of one: each entry may have a limit of its own, and the longest numbers.
	maxBatch = 64 << 10
	version  = 1
	latest   = 1 << 42 // milliseconds, more than a hundred years
	prefix   = 4       // bytes of a batch's length
)

// batch is what one node tells the others at a time. On the wire it begins with its length, four bytes (little-endian, as all that follows), which may be
// zero: that is only a sign of life. Then come a version, the epoch, the number and the time as varints, and for each limit its id, the number of its entries
// as a varint, and the entries: a key, and tokens as a varint.
type batch struct {
	epoch, number uint64
	at            uint64 // when it was written, in milliseconds on the writer's clock
	entries       []entry
}

// entry says how many tokens were taken from a bucket since the last batch that told of it.
type entry struct{ limit, key, used uint64 }

// errBatch is what is wrong with a batch that is cut short or too long.
var errBatch = errors.New("malformed batch of rate limits")

// append appends the batch with its length.
func (b *batch) append(to []byte) []byte {
	start := len(to)
	to = append(to, 0, 0, 0, 0, version)
	to = binary.LittleEndian.AppendUint64(to, b.epoch)
	to = binary.AppendUvarint(to, b.number)
	to = binary.AppendUvarint(to, b.at)
	for rest := b.entries; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].limit == rest[0].limit {
			n++
		}
		to = binary.LittleEndian.AppendUint64(to, rest[0].limit)
		to = binary.AppendUvarint(to, uint64(n))
		for _, e := range rest[:n] {
			to = binary.LittleEndian.AppendUint64(to, e.key)
			to = binary.AppendUvarint(to, e.used)
		}
		rest = rest[n:]
	}
	binary.LittleEndian.PutUint32(to[start:], uint32(len(to)-start-prefix))
	return to
}

// read reads a batch with its length into memory that is used again. It tells whether it is one and not only a sign of life.
func (b *batch) read(in *bufio.Reader, memory []byte) (_ []byte, some bool, err error) {
	head, err := in.Peek(prefix)
	if err != nil {
		return memory, false, err
	}
	n := binary.LittleEndian.Uint32(head)
	if n > maxBatch {
		return memory, false, fmt.Errorf("batch of rate limits has %d bytes, and %d is the most", n, maxBatch)
	}
	in.Discard(prefix) // they are there
	if n == 0 {
		return memory, false, nil
	}
	if cap(memory) < int(n) {
		memory = make([]byte, maxBatch)
	}
	memory = memory[:n]
	if _, err := io.ReadFull(in, memory); err != nil {
		return memory, false, err
	}
	return memory, true, b.parse(memory)
}

// parse reads a batch without its length. The whole of it is read before anything is believed.
func (b *batch) parse(from []byte) error {
	p := parser{rest: from}
	if v := p.byte(); p.bad || v != version {
		return fmt.Errorf("batch of rate limits has version %d, and %d is known: update all nodes", v, version)
	}
	b.epoch, b.number, b.at = p.fixed(), p.varint(), p.varint()
	b.entries = b.entries[:0]
	if b.at > latest {
		return errBatch
	}
	for len(p.rest) > 0 && !p.bad {
		limit, n := p.fixed(), p.varint()
		if n == 0 || n > uint64(maxEntries-len(b.entries)) {
			return errBatch
		}
		for range n {
			e := entry{limit, p.fixed(), p.varint()}
			if p.bad || e.used == 0 {
				return errBatch
			}
			b.entries = append(b.entries, e)
		}
	}
	if p.bad {
		return errBatch
	}
	return nil
}

// parser reads numbers from the front of rest until one is missing; then it is bad, and returns zeros.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) byte() byte {
	if len(p.rest) == 0 {
		p.bad = true
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

func (p *parser) fixed() uint64 {
	if len(p.rest) < 8 {
		p.bad, p.rest = true, nil
		return 0
	}
	n := binary.LittleEndian.Uint64(p.rest)
	p.rest = p.rest[8:]
	return n
}

func (p *parser) varint() uint64 {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 {
		p.bad, p.rest = true, nil
		return 0
	}
	p.rest = p.rest[size:]
	return n
}
