package h2

import (
	"errors"
	"unsafe"

	"golang.org/x/net/http2/hpack"
)

// tableSize is the dynamic tables' largest size, which is the default (RFC 9113 §6.5.2): ours, and what we use of the client's.
const tableSize = 4096

var (
	errIndex     = errors.New("index of no table entry")
	errInteger   = errors.New("integer overflow")
	errTruncated = errors.New("truncated field section")
	errResize    = errors.New("misplaced or excessive table size update")
)

// decoder is HPACK's decoding context (RFC 7541). It differs from package hpack's in that it puts strings that it does not index
// in memory which is reused, and in what it remembers about an entry.
type decoder struct {
	ring  []entry // the dynamic table: entries first to first+count-1, oldest first, modulo the length
	first int
	count int
	size  int
	max   int
	huff  []byte // a line that is to be indexed
	to    appender
}

// appender takes what hpack.HuffmanDecode writes.
type appender struct{ arena *[]byte }

func (a *appender) Write(p []byte) (int, error) {
	*a.arena = append(*a.arena, p...)
	return len(p), nil
}

// decode reads a whole field section and gives its lines to h. An error is COMPRESSION_ERROR (RFC 9113 §4.3).
func (d *decoder) decode(p []byte, h *head) error {
	// The encoder may shrink the table and let it grow again in between two sections: at most two updates, first of all (RFC
	// 7541 §4.2).
	for updates := 0; len(p) > 0 && p[0]&0xe0 == 0x20; updates++ {
		n, rest, err := readInteger(p, 5)
		if err != nil {
			return err
		}
		if n > tableSize || updates == 2 {
			return errResize
		}
		d.max = int(n)
		d.evict()
		p = rest
	}
	for len(p) > 0 {
		var err error
		if p, err = d.line(p, h); err != nil {
			return err
		}
	}
	return nil
}

// line reads one field line's representation (RFC 7541 §6).
func (d *decoder) line(p []byte, h *head) ([]byte, error) {
	b := p[0]
	switch {
	case b&0x80 != 0: // §6.1
		i, rest, err := readInteger(p, 7)
		if err != nil {
			return nil, err
		}
		e := d.at(i)
		if e == nil {
			return nil, errIndex
		}
		h.add(e)
		return rest, nil
	case b&0xc0 == 0x40: // §6.2.1
		return d.indexed(p, h)
	case b&0xe0 == 0x20: // §6.3
		return nil, errResize
	}
	i, p, err := readInteger(p, 4) // §6.2.2, §6.2.3
	if err != nil {
		return nil, err
	}
	mark := len(h.arena)
	var e entry
	if i != 0 {
		named := d.at(i)
		if named == nil {
			return nil, errIndex
		}
		e.name, e.kind, e.pseudo, e.badName = named.name, named.kind, named.pseudo, named.badName
	} else {
		if e.name, p, err = d.text(p, &h.arena); err != nil {
			return nil, err
		}
		e.lookName()
	}
	if e.value, p, err = d.text(p, &h.arena); err != nil {
		return nil, err
	}
	if h.ignores() {
		h.size += e.size()
		h.arena = h.arena[:mark]
		return p, nil
	}
	e.lookValue()
	h.add(&e)
	return p, nil
}

// indexed reads a line that enters the dynamic table, where its strings stay longer than the request.
func (d *decoder) indexed(p []byte, h *head) ([]byte, error) {
	i, p, err := readInteger(p, 6)
	if err != nil {
		return nil, err
	}
	var e entry
	d.huff = d.huff[:0]
	if i != 0 {
		named := d.at(i)
		if named == nil {
			return nil, errIndex
		}
		e.name, e.kind, e.pseudo, e.badName = named.name, named.kind, named.pseudo, named.badName
	} else if e.name, p, err = d.text(p, &d.huff); err != nil {
		return nil, err
	}
	cut := len(d.huff)
	if e.value, p, err = d.text(p, &d.huff); err != nil {
		return nil, err
	}
	both := string(d.huff)
	if i == 0 {
		e.name = both[:cut]
		e.lookName()
	}
	e.value = both[cut:]
	e.lookValue()
	d.add(&e)
	h.add(&e)
	return p, nil
}

// text reads a string literal (RFC 7541 §5.2) and appends it to an arena, whose memory the result shares.
func (d *decoder) text(p []byte, arena *[]byte) (string, []byte, error) {
	if len(p) == 0 {
		return "", nil, errTruncated
	}
	coded := p[0]&0x80 != 0
	n, p, err := readInteger(p, 7)
	if err != nil {
		return "", nil, err
	}
	if n > uint64(len(p)) {
		return "", nil, errTruncated
	}
	from := len(*arena)
	if coded {
		d.to.arena = arena
		if _, err := hpack.HuffmanDecode(&d.to, p[:n]); err != nil {
			return "", nil, err
		}
	} else {
		*arena = append(*arena, p[:n]...)
	}
	return view((*arena)[from:]), p[n:], nil
}

// view is b as a string, for as long as b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// at returns the entry with an index (RFC 7541 §2.3.3), or nil.
func (d *decoder) at(i uint64) *entry {
	if i <= staticSize {
		if i == 0 {
			return nil
		}
		return &staticTable[i]
	}
	i -= staticSize + 1 // 0 is the newest
	if i >= uint64(d.count) {
		return nil
	}
	return &d.ring[(d.first+d.count-1-int(i))%len(d.ring)]
}

// add puts an entry in the dynamic table (RFC 7541 §4.4).
func (d *decoder) add(e *entry) {
	size := e.size()
	for d.count > 0 && d.size+size > d.max {
		d.drop()
	}
	if size > d.max {
		return
	}
	if d.count == len(d.ring) {
		ring := make([]entry, max(8, 2*len(d.ring)))
		for i := range d.count {
			ring[i] = d.ring[(d.first+i)%len(d.ring)]
		}
		d.ring, d.first = ring, 0
	}
	d.ring[(d.first+d.count)%len(d.ring)] = *e
	d.count++
	d.size += size
}

func (d *decoder) evict() {
	for d.size > d.max {
		d.drop()
	}
}

func (d *decoder) drop() {
	e := &d.ring[d.first]
	d.size -= e.size()
	*e = entry{}
	d.first = (d.first + 1) % len(d.ring)
	d.count--
}

// readInteger reads an integer with a prefix of n bits (RFC 7541 §5.1).
func readInteger(p []byte, n uint) (uint64, []byte, error) {
	if len(p) == 0 {
		return 0, nil, errTruncated
	}
	limit := uint64(1)<<n - 1
	v := uint64(p[0]) & limit
	p = p[1:]
	if v < limit {
		return v, p, nil
	}
	for shift := uint(0); len(p) > 0; shift += 7 {
		if shift > 28 { // more than any length or index that we could take
			return 0, nil, errInteger
		}
		b := p[0]
		p = p[1:]
		v += uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return v, p, nil
		}
	}
	return 0, nil, errTruncated
}
