package h2

import (
	"tripod/proxy/web/message"
)

// head is a field section while it is decoded: of a request, or its trailers.
type head struct {
	req      *message.Request
	arena    []byte // holds the strings that come from no HPACK table
	max      int    // Options.MaxHead
	size     int    // as RFC 9113 §6.5.2 counts
	trailers bool
	discard  bool // only the HPACK state matters
	tooLarge bool
	wrong    string // what is malformed; empty if nothing is

	seen      [protocol + 1]bool
	authority string
	host      string
	hosts     int
	cookies   int
	length    bool // there was a Content-Length
}

// begin makes ready for the next section.
func (h *head) begin(req *message.Request, arena []byte, trailers bool) {
	*h = head{req: req, arena: arena, max: h.max, trailers: trailers, discard: req == nil}
}

// ignores tells whether further lines make no difference but for HPACK's state.
func (h *head) ignores() bool { return h.discard || h.tooLarge || h.wrong != "" }

// add takes the next line.
func (h *head) add(e *entry) {
	h.size += e.size()
	if h.size > h.max {
		h.tooLarge = true
	}
	switch {
	case h.ignores():
	case e.pseudo != regular:
		h.addPseudo(e)
	case e.badName:
		h.wrong = "field name"
	case e.badValue:
		h.wrong = "field value"
	default:
		h.addField(e)
	}
}

// addPseudo takes a pseudo-field (RFC 9113 §8.3).
func (h *head) addPseudo(e *entry) {
	switch {
	case h.trailers:
		h.wrong = "pseudo-field in trailers"
		return
	case len(h.req.Fields) > 0 || h.hosts > 0:
		h.wrong = "pseudo-field after fields"
		return
	case e.pseudo == unknown:
		h.wrong = "unknown pseudo-field"
		return
	case h.seen[e.pseudo]:
		h.wrong = "repeated pseudo-field"
		return
	case e.badValue:
		h.wrong = "value of " + e.name
		return
	}
	h.seen[e.pseudo] = true
	switch e.pseudo {
	case method:
		h.req.Method = e.value
	case scheme:
		h.req.Scheme = e.value
	case authority:
		h.authority = e.value
	case path:
		h.req.Target = e.value
	case protocol:
		h.req.Upgrade = e.value
	}
}

func (h *head) addField(e *entry) {
	switch e.kind {
	case message.Host:
		if h.trailers || !validAuthority(e.value) {
			h.wrong = "host"
		}
		h.host = e.value
		h.hosts++
		return
	case message.ContentLength:
		n, ok := parseLength(e.value)
		if !ok || h.length || h.trailers { // RFC 9112 §6.3 item 5 is as right here
			h.wrong = "content-length"
		}
		h.req.Length, h.length = n, true
	case message.Cookie:
		h.cookies++
	case message.Expect:
		h.req.Expect = h.req.Expect || message.EqualFold(e.value, "100-continue")
	case message.TE:
		h.req.Trailers = true // the one value that it may have
	}
	h.req.Fields = append(h.req.Fields, message.Field{Name: e.name, Value: e.value, Kind: e.kind})
}

// finish looks at a request's head as a whole: RFC 9113 §8.3.1 and §8.5, RFC 8441 §4. What is wrong is in h.wrong.
func (h *head) finish(end bool) {
	if h.ignores() {
		return
	}
	r := h.req
	r.Major = 2
	connect := r.Method == "CONNECT"
	plain := connect && r.Upgrade == ""
	switch {
	case !h.seen[method]:
		h.wrong = "no :method"
	case plain && (h.seen[scheme] || h.seen[path] || !h.seen[authority]):
		h.wrong = "pseudo-fields of CONNECT"
	case !plain && (!h.seen[scheme] || !h.seen[path]):
		h.wrong = "no :scheme or no :path"
	case r.Upgrade != "" && (!connect || !h.seen[authority]):
		h.wrong = ":protocol without CONNECT or :authority"
	case r.Target == "*" && r.Method != "OPTIONS":
		h.wrong = ":path"
	case h.hosts > 1:
		h.wrong = "several hosts"
	case h.hosts == 1 && h.authority != "" && !sameHost(h.host, h.authority, r.Scheme):
		h.wrong = "host is not :authority"
	case h.hosts == 0 && h.authority == "" && (r.Scheme == "http" || r.Scheme == "https"):
		h.wrong = "no :authority and no host" // RFC 9110 §4.2.1, §7.2
	case end && r.Length > 0:
		h.wrong = "content-length without content" // RFC 9113 §8.1.1
	}
	r.Host = h.authority
	if r.Host == "" {
		r.Host = h.host
	}
	switch {
	case end:
		r.Length = 0
	case !h.length:
		r.Length = message.Unknown
	}
	if h.cookies > 1 && h.wrong == "" {
		h.joinCookies()
	}
}

// joinCookies makes one field of several (RFC 9113 §8.2.3).
func (h *head) joinCookies() {
	from, first, kept := len(h.arena), -1, 0
	for i, f := range h.req.Fields {
		if f.Kind != message.Cookie {
			h.req.Fields[kept] = f
			kept++
			continue
		}
		if first < 0 {
			first = kept
			h.req.Fields[kept] = f
			kept++
		} else {
			h.arena = append(h.arena, "; "...)
		}
		h.arena = append(h.arena, h.req.Fields[i].Value...)
	}
	clear(h.req.Fields[kept:])
	h.req.Fields = h.req.Fields[:kept]
	h.req.Fields[first].Value = view(h.arena[from:])
}
