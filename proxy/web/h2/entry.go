package h2

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"tripod/proxy/web/message"
)

// entry is a field line with all that has to be found out about it, so that a line which comes from an HPACK table costs nothing
// to look at again.
type entry struct {
	name, value string
	kind        message.Kind
	pseudo      pseudo
	badName     bool // by RFC 9113 §8.2.1, or about the connection (§8.2.2)
	badValue    bool
}

// pseudo tells the pseudo-fields apart (RFC 9113 §8.3.1).
type pseudo uint8

const (
	regular pseudo = iota // not a pseudo-field
	method
	scheme
	authority
	path
	protocol // RFC 8441 §4
	unknown  // among them :status, which no request has
)

// size is what a line counts for in a table and in a list (RFC 7541 §4.1, RFC 9113 §6.5.2).
func (e *entry) size() int { return len(e.name) + len(e.value) + 32 }

// lookName finds out what the name says.
func (e *entry) lookName() {
	if e.name != "" && e.name[0] == ':' {
		switch e.name {
		case ":method":
			e.pseudo = method
		case ":scheme":
			e.pseudo = scheme
		case ":authority":
			e.pseudo = authority
		case ":path":
			e.pseudo = path
		case ":protocol":
			e.pseudo = protocol
		default:
			e.pseudo = unknown
		}
		return
	}
	e.kind = message.KindOf(e.name)
	e.badName = !validName(e.name) || aboutConnection(e.kind)
}

// lookValue finds out whether the value can be.
func (e *entry) lookValue() {
	switch e.pseudo {
	case regular, unknown:
		e.badValue = !validValue(e.value) || e.kind == message.TE && e.value != "trailers" // RFC 9113 §8.2.2
	case method, protocol:
		e.badValue = !validToken(e.value)
	case scheme:
		e.badValue = !validScheme(e.value)
	case authority:
		e.badValue = !validAuthority(e.value)
	case path:
		e.badValue = !validPath(e.value)
	}
}

// aboutConnection tells the fields that HTTP/2 has no use for (RFC 9113 §8.2.2).
func aboutConnection(k message.Kind) bool {
	switch k {
	case message.Connection, message.ProxyConnection, message.KeepAlive, message.TransferEncoding, message.Upgrade:
		return true
	}
	return false
}

// staticTable is RFC 7541's appendix A, with index 0 left empty.
var staticTable = readStaticTable()

const staticSize = 61

func readStaticTable() *[staticSize + 1]entry {
	table := new([staticSize + 1]entry)
	d := hpack.NewDecoder(0, nil)
	for i := 1; i <= staticSize; i++ {
		fields, err := d.DecodeFull([]byte{0x80 | byte(i)})
		if err != nil {
			panic(err) // the indexes are constants
		}
		e := &table[i]
		e.name, e.value = fields[0].Name, fields[0].Value
		e.lookName()
		e.lookValue()
	}
	return table
}

// staticNames are the indexes of the static table's names, the first where there are several.
var staticNames = readStaticNames()

func readStaticNames() map[string]uint8 {
	names := make(map[string]uint8)
	for i := staticSize; i > 0; i-- {
		if name := staticTable[i].name; !strings.HasPrefix(name, ":") {
			names[name] = uint8(i)
		}
	}
	return names
}
