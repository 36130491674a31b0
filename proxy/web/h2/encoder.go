package h2

import (
	"hash/maphash"
	"math/bits"

	"golang.org/x/net/http2/hpack"

	"tripod/proxy/web/message"
)

const (
	remembered = 32 // entries of the client's table that we refer to; older ones may live on there unused
	buckets    = 64
	candidates = 64
)

// encoder is HPACK's encoding context (RFC 7541). A line enters the client's dynamic table when it is sent a second time, so that
// values which never return (dates apart, most that differ from answer to answer) cost no table space and no Huffman code.
type encoder struct {
	seed    maphash.Seed
	entries [remembered]sent
	index   [buckets]uint32    // by hash: the number of an entry, or 0
	seen    [candidates]uint32 // by hash: hashes of lines that were sent once
	count   uint32             // entries sent so far; the last one's number
	floor   uint32             // entries up to this number are gone
	total   uint64             // their size
	max     uint32             // the table's size
	low     uint32             // the smallest it was set to since we last said so
	resized bool
	name    []byte // scratch
}

// sent is an entry of the client's dynamic table.
type sent struct {
	hash   uint32
	name   int    // length of the name, with which line begins
	before uint64 // encoder.total when it was sent
	line   []byte
}

func newEncoder() *encoder {
	return &encoder{seed: maphash.MakeSeed(), max: tableSize, low: tableSize}
}

// resize heeds the client's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) resize(size uint32) {
	size = min(size, tableSize)
	if size == e.max && !e.resized {
		return
	}
	e.low = min(e.low, size)
	e.max, e.resized = size, true
	e.floor = e.count
}

// begin begins a field section: with the table's size, if it was changed (RFC 7541 §4.2).
func (e *encoder) begin(b []byte) []byte {
	if !e.resized {
		return b
	}
	if e.low < e.max {
		// No more than the smallest size is asked for, but some decoders, Go's among them, take a second update only if the first
		// has emptied the table. We refer to nothing in it any more.
		b = append(b, 0x20)
	}
	b = appendInteger(b, 0x20, 5, uint64(e.max))
	e.resized, e.low = false, e.max
	return b
}

// status appends the :status pseudo-field.
func (e *encoder) status(b []byte, status int) []byte {
	switch status {
	case 200:
		return append(b, 0x80|8)
	case 204:
		return append(b, 0x80|9)
	case 206:
		return append(b, 0x80|10)
	case 304:
		return append(b, 0x80|11)
	case 400:
		return append(b, 0x80|12)
	case 404:
		return append(b, 0x80|13)
	case 500:
		return append(b, 0x80|14)
	}
	return append(b, 8, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
}

// field appends a field line, or nothing if HTTP/2 has no such line: then the field would do harm and nobody misses it.
func (e *encoder) field(b []byte, f *message.Field) []byte {
	name, value := f.Name, message.TrimOWS(f.Value)
	if !all(name, inToken) {
		e.name = e.name[:0]
		for i := range len(name) {
			e.name = append(e.name, lower(name[i]))
		}
		name = view(e.name)
	}
	h1, h2 := maphash.String(e.seed, name), maphash.String(e.seed, value)
	hash := uint32(h1) ^ bits.RotateLeft32(uint32(h2), 7) | 1
	if i := e.find(hash, name, value); i != 0 {
		return appendInteger(b, 0x80, 7, i)
	}
	kind := f.Kind
	if kind == message.Other {
		kind = message.KindOf(name)
	}
	if !validName(name) || !all(value, inValue) || aboutConnection(kind) || kind == message.HTTP2Settings {
		return b
	}
	static := uint64(staticNames[name])
	switch {
	case kind == message.SetCookie || kind == message.Authorization:
		b = appendInteger(b, 0x10, 4, static) // never indexed: RFC 7541 §7.1.3
	case e.seen[hash>>1%candidates] == hash && len(name)+len(value)+32 <= int(e.max)/4:
		e.remember(hash, name, value)
		b = appendInteger(b, 0x40, 6, static)
		if static == 0 {
			b = appendCoded(b, name)
		}
		return appendCoded(b, value)
	default:
		e.seen[hash>>1%candidates] = hash
		b = appendInteger(b, 0, 4, static)
	}
	if static == 0 {
		b = appendText(b, name)
	}
	return appendText(b, value)
}

// find returns the index of a line in the client's tables, or 0.
func (e *encoder) find(hash uint32, name, value string) uint64 {
	n := e.index[hash>>1%buckets]
	if n <= e.floor || e.count-n >= remembered {
		return 0
	}
	s := &e.entries[n%remembered]
	if s.hash != hash || e.total-s.before > uint64(e.max) { // evicted there
		return 0
	}
	if string(s.line[:s.name]) != name || string(s.line[s.name:]) != value {
		return 0
	}
	return uint64(staticSize + 1 + e.count - n)
}

func (e *encoder) remember(hash uint32, name, value string) {
	e.count++
	s := &e.entries[e.count%remembered]
	s.hash, s.name, s.before = hash, len(name), e.total
	s.line = append(append(s.line[:0], name...), value...)
	e.total += uint64(len(name) + len(value) + 32)
	e.index[hash>>1%buckets] = e.count
}

// appendInteger appends an integer with a prefix of n bits, below which the octet holds the pattern (RFC 7541 §5.1).
func appendInteger(b []byte, pattern byte, n uint, v uint64) []byte {
	limit := uint64(1)<<n - 1
	if v < limit {
		return append(b, pattern|byte(v))
	}
	b = append(b, pattern|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		b = append(b, 0x80|byte(v))
	}
	return append(b, byte(v))
}

// appendText appends a string as it is: for one that is sent once the Huffman code saves less than it costs.
func appendText(b []byte, s string) []byte {
	return append(appendInteger(b, 0, 7, uint64(len(s))), s...)
}

// appendCoded appends a string in the Huffman code if that is shorter.
func appendCoded(b []byte, s string) []byte {
	n := hpack.HuffmanEncodeLength(s)
	if n >= uint64(len(s)) {
		return appendText(b, s)
	}
	return hpack.AppendHuffmanString(appendInteger(b, 0x80, 7, n), s)
}
