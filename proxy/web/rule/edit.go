package rule

import (
	"maps"
	"slices"

	"tripod/proxy/web/message"
)

// op is one change to the fields of a message.
type op struct {
	do    change
	name  string // as it is written
	key   string // as it is compared: in small letters, with hyphens for underscores
	kind  message.Kind
	value template
}

type change uint8

const (
	remove change = iota
	set
	add
)

// edits are the changes to one direction's fields, in their order.
type edits []op

// compileHeaders appends the changes of c. What sets Host is returned apart: it is no field of a message.Request.
func (e edits) compileHeaders(c *HeadersConfig) (edits, template) {
	if c == nil {
		return e, nil
	}
	var hostValue template
	for _, name := range c.Remove {
		e = append(e, newOp(remove, name, ""))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Set)) {
		o := newOp(set, name, c.Set[name])
		if o.kind == message.Host {
			hostValue = o.value
			continue
		}
		e = append(e, o)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Add)) {
		e = append(e, newOp(add, name, c.Add[name]))
	}
	return e, hostValue
}

func newOp(do change, name, value string) op {
	o := op{do: do, name: name, key: folded(name), kind: message.KindOf(name)}
	if o.kind == message.Provenance {
		o.kind = message.Other // an engine that drops what clients say about themselves leaves what the document says
	}
	o.value, _ = parseTemplate(value)
	return o
}

// folded is a name as it is compared.
func folded(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = fold(c)
	}
	return string(b)
}

func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case c == '_':
		return '-'
	}
	return c
}

// same tells whether a name is one that was folded. A server that hands fields on as CGI variables cannot tell an underscore from a
// hyphen (RFC 3875 §4.1.18), and so a client could say beside what the document sets, or again what it removes.
func same(name, folded string) bool {
	if len(name) != len(folded) {
		return false
	}
	for i := range len(folded) {
		if fold(name[i]) != folded[i] {
			return false
		}
	}
	return true
}

// apply makes the changes in place.
func (e edits) apply(fields []message.Field, v *Vars) []message.Field {
	for i := range e {
		o := &e[i]
		switch o.do {
		case remove:
			fields = drop(fields, o.key, 0)
		case add:
			fields = append(fields, message.Field{Name: o.name, Value: o.value.expand(v), Kind: o.kind})
		case set:
			f := message.Field{Name: o.name, Value: o.value.expand(v), Kind: o.kind}
			if at := find(fields, o.key); at >= 0 {
				fields[at] = f
				fields = drop(fields, o.key, at+1)
			} else {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// find is the index of the first field with a name, or -1.
func find(fields []message.Field, folded string) int {
	for i := range fields {
		if same(fields[i].Name, folded) {
			return i
		}
	}
	return -1
}

// drop removes the fields with a name from index from on.
func drop(fields []message.Field, folded string, from int) []message.Field {
	kept := from
	for i := from; i < len(fields); i++ {
		if same(fields[i].Name, folded) {
			continue
		}
		if kept != i {
			fields[kept] = fields[i]
		}
		kept++
	}
	clear(fields[kept:])
	return fields[:kept]
}

// EditRequest changes the fields that a server gets, in place: after those that end here and those about the client's end of the
// way were dropped, and before tripod's own are added. Host is apart: see Host. The values share memory with v.
func (r *Rules) EditRequest(fields []message.Field, v *Vars) []message.Field {
	if r == nil {
		return fields
	}
	return r.request.apply(fields, v)
}

// Host is the host that the server is to see instead of the client's; false if the rules name none.
func (r *Rules) Host(v *Vars) (string, bool) {
	if r == nil || r.host == nil {
		return "", false
	}
	return r.host.expand(v), true
}

// EditResponse changes the fields that a client gets, in place: of a server's answer, of a fixed one, and of tripod's own errors on
// the route. It is called after Encode, so that the document has the last word.
func (r *Rules) EditResponse(fields []message.Field, v *Vars) []message.Field {
	if r == nil {
		return fields
	}
	return r.response.apply(fields, v)
}
