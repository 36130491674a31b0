// Package message is what HTTP means, whatever version it is spoken in (RFC 9110): requests, responses and their fields. Packages h1
// and h2 turn it into bytes and back.
//
// Messages are reused, and their strings may share memory with the buffer of the connection that they came from, so that a
// request costs no allocation. They are good until it has been answered.
package message

// Unknown is the Length of content whose end is not known before it comes.
const Unknown = -1

// Request is the head of a request.
type Request struct {
	Method string
	// Target is the origin form, path and query as the client sent them (RFC 9112 §3.2.1); "*" for an OPTIONS that is about the whole server,
	// empty for a CONNECT without a protocol.
	Target string
	// Scheme is what the client said in an absolute target or in HTTP/2's pseudo-field, empty if it said nothing.
	Scheme string
	// Host is the authority that the request is for: of the absolute target or HTTP/2's pseudo-field if there is one, else the Host field's. It may
	// be empty, which HTTP/1.0 allows.
	Host string
	// Major and Minor are the version.
	Major, Minor uint8
	// Fields are all fields but Host, in their order, with those that are about the connection.
	Fields []Field
	// Length is that of the content in bytes; 0 if there is none, Unknown if it is chunked or ends with HTTP/2's stream.
	Length int64
	// Close: the client wants the connection to end after the answer (HTTP/1).
	Close bool
	// Expect: the client waits for 100 (Continue) before it sends content.
	Expect bool
	// Upgrade is the protocol to change to, empty for none: HTTP/1.1's Upgrade field (RFC 9110 §7.8), or the :protocol of an
	// extended CONNECT (RFC 8441).
	Upgrade string
	// Trailers: the client understands trailers (TE: trailers).
	Trailers bool
	// Named are the tokens of Connection that name further fields which end here; usually none.
	Named []string
}

// Reset empties a request for the next use, and keeps its memory.
func (r *Request) Reset() {
	clear(r.Fields)
	clear(r.Named)
	*r = Request{Fields: r.Fields[:0], Named: r.Named[:0]}
}

// EndsHere tells whether a field is about this connection only, and is not passed on.
func (r *Request) EndsHere(f Field) bool { return f.Kind.HopByHop() || named(r.Named, f.Name) }

// Response is the head of a response.
type Response struct {
	// Status is 100 to 999 as the server said it.
	Status int
	// Major and Minor are the version.
	Major, Minor uint8
	// Fields are all fields, in their order, with those that are about the connection.
	Fields []Field
	// Length is that of the content in bytes, by Content-Length; Unknown if it is chunked, or ends with the connection or HTTP/2's stream. Whether there is
	// content at all also depends on the request and the status: see HasContent.
	Length int64
	// Chunked: the content comes in chunks (HTTP/1.1).
	Chunked bool
	// Close: the connection ends after this response (HTTP/1).
	Close bool
	// Upgrade is the protocol that the server changes to, with 101.
	Upgrade string
	// Named as in Request.
	Named []string
}

// Reset empties a response for the next use, and keeps its memory.
func (r *Response) Reset() {
	clear(r.Fields)
	clear(r.Named)
	*r = Response{Fields: r.Fields[:0], Named: r.Named[:0]}
}

// EndsHere as in Request.
func (r *Response) EndsHere(f Field) bool { return f.Kind.HopByHop() || named(r.Named, f.Name) }

// HasContent tells whether a response with this status to a request with this method has content (RFC 9110 §6.4.1).
func HasContent(method string, status int) bool {
	return method != "HEAD" && status >= 200 && status != 204 && status != 304
}

// Interim tells whether a status is informational and another response follows (RFC 9110 §15.2). 101 is no such: what follows
// it is another protocol.
func Interim(status int) bool { return status < 200 && status != 101 }

func named(names []string, name string) bool {
	for _, n := range names {
		if len(n) == len(name) && equalFold(n, name) {
			return true
		}
	}
	return false
}

// equalFold compares two names of the same length, in whatever case.
func equalFold(a, b string) bool {
	for i := range len(a) {
		x, y := a[i], b[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if 'A' <= y && y <= 'Z' {
			y |= 0x20
		}
		if x != y {
			return false
		}
	}
	return true
}
