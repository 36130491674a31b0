package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"tripod/proxy/web/message"
)

// What these functions hold: whatever our parsers accept, net/http accepts too, and understands it in the same way, down to the byte where
// the message ends. We may refuse what it accepts.
//
// # Where it may differ
//
//   - Before a request we skip an empty line, as RFC 9112 §2.2 asks for; http.ReadRequest leaves that to its server.
//   - net/http adds "Cache-Control: no-cache" to "Pragma: no-cache" (fixPragmaCacheControl), which is nothing that was received.
//   - net/http takes Trailer out of the header of chunked messages, and we take Expect out of requests.
//   - The content after a 101 is another protocol's.

// theirs is a reader whose end of the message can be told. The buffer is large since net/http wants trailers to fit in it.
type theirs struct {
	all *bytes.Reader
	*bufio.Reader
}

func reader(b []byte) theirs {
	all := bytes.NewReader(b)
	return theirs{all, bufio.NewReaderSize(all, 1<<20)}
}

// left is how many bytes were not read.
func (r theirs) left() int { return r.all.Len() + r.Buffered() }

// sameRequest compares what both make of bytes that begin with a request.
func sameRequest(t *testing.T, wire []byte) {
	var r message.Request
	n, err := ParseRequest(&r, wire)
	if err != nil {
		return
	}
	in := reader(bytes.TrimPrefix(wire, []byte("\r\n")))
	req, err := http.ReadRequest(in.Reader)
	if err != nil {
		t.Fatalf("%q: net/http does not accept: %v", wire, err)
	}
	if head := len(wire) - in.left(); head != n {
		t.Fatalf("%q: a head of %d bytes, net/http: %d", wire, n, head)
	}
	same(t, wire, "method", r.Method, req.Method)
	same(t, wire, "target", r.Target, origin(req))
	host := req.Host
	if r.Method == "CONNECT" && r.Target == "" {
		host = req.URL.Host
	}
	same(t, wire, "host", r.Host, host)
	same(t, wire, "version", int(r.Major)*10+int(r.Minor), req.ProtoMajor*10+req.ProtoMinor)
	same(t, wire, "length", r.Length, req.ContentLength)
	same(t, wire, "chunked", r.Length == message.Unknown, slices.Equal(req.TransferEncoding, []string{"chunked"}))
	same(t, wire, "close", r.Close, req.Close)
	sameFields(t, wire, r.Fields, req.Header, r.Length == message.Unknown)
	sameContent(t, wire, n, framing{r.Length, r.Length == message.Unknown, false}, in, req.Body, func() http.Header { return req.Trailer })
}

// origin is the origin form of a target, by the text and not by what URL makes of it.
func origin(req *http.Request) string {
	target := req.RequestURI
	if target == "*" || target[0] == '/' {
		return target
	}
	if req.Method == "CONNECT" {
		return ""
	}
	_, rest, _ := strings.Cut(target, "://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		return "/"
	}
	if rest[end] == '?' {
		return "/" + rest[end:]
	}
	return rest[end:]
}

// sameResponse compares what both make of bytes that begin with a response to a request with a method.
func sameResponse(t *testing.T, wire []byte, method string) {
	var r message.Response
	n, err := ParseResponse(&r, wire)
	if err != nil {
		return
	}
	in := reader(wire)
	res, err := http.ReadResponse(in.Reader, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: net/http does not accept: %v", wire, err)
	}
	if head := len(wire) - in.left(); head != n {
		t.Fatalf("%q: a head of %d bytes, net/http: %d", wire, n, head)
	}
	same(t, wire, "status", r.Status, res.StatusCode)
	same(t, wire, "version", int(r.Major)*10+int(r.Minor), res.ProtoMajor*10+res.ProtoMinor)
	same(t, wire, "chunked", r.Chunked, slices.Equal(res.TransferEncoding, []string{"chunked"}))
	content := message.HasContent(method, r.Status)
	untilClose := content && !r.Chunked && r.Length == message.Unknown
	if content {
		same(t, wire, "length", r.Length, res.ContentLength)
	}
	same(t, wire, "close", r.Close || untilClose, res.Close)
	sameFields(t, wire, r.Fields, res.Header, r.Chunked)
	if r.Status == 101 {
		return
	}
	f := framing{r.Length, r.Chunked, untilClose}
	if !content {
		f = framing{}
	}
	sameContent(t, wire, n, f, in, res.Body, func() http.Header { return res.Trailer })
}

// framing says where content ends.
type framing struct {
	length     int64
	chunked    bool
	untilClose bool
}

// sameContent compares the content behind a head of n bytes, and where it ends.
func sameContent(t *testing.T, wire []byte, n int, f framing, in theirs, body io.Reader, trailer func() http.Header) {
	rest := wire[n:]
	ours := decoded{err: io.EOF}
	switch {
	case f.chunked:
		if ours = decode(rest, len(rest)); errors.As(ours.err, new(*Error)) {
			return // stricter
		}
	case f.untilClose:
		ours.content, ours.used = string(rest), len(rest)
	case f.length <= int64(len(rest)):
		ours.content, ours.used = string(rest[:f.length]), int(f.length)
	default:
		ours.content, ours.used, ours.err = string(rest), len(rest), ErrIncomplete
	}
	content, err := io.ReadAll(body)
	if !bytes.HasPrefix(content, []byte(ours.content)) || len(content) != len(ours.content) {
		t.Fatalf("%q: content %q, net/http: %q, %v", wire, ours.content, content, err)
	}
	if (ours.err == io.EOF) != (err == nil) {
		t.Fatalf("%q: the content ends with %v, net/http: %v", wire, ours.err, err)
	}
	if ours.err != io.EOF {
		return
	}
	same(t, wire, "end", ours.used, len(rest)-in.left())
	if !f.chunked {
		return
	}
	theirs := trailer().Clone()
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Host", "Expect"} {
		theirs.Del(name)
	}
	maps.DeleteFunc(theirs, func(_ string, values []string) bool { return values == nil })
	same(t, wire, "trailers", ours.trailers != "", len(theirs) > 0)
}

// sameFields compares the fields, but for the exceptions above and those that frame.
func sameFields(t *testing.T, wire []byte, ours []message.Field, theirs http.Header, chunked bool) {
	fields := http.Header{}
	for _, f := range ours {
		name := textproto.CanonicalMIMEHeaderKey(f.Name)
		fields[name] = append(fields[name], f.Value)
	}
	theirs = theirs.Clone()
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Host", "Expect"} {
		theirs.Del(name)
		if fields[name] != nil {
			t.Fatalf("%q: %s among the fields", wire, name)
		}
	}
	if chunked {
		fields.Del("Trailer")
	}
	if _, ok := fields["Cache-Control"]; !ok && fields.Get("Pragma") == "no-cache" {
		theirs.Del("Cache-Control")
	}
	if !maps.EqualFunc(fields, theirs, slices.Equal) {
		t.Fatalf("%q:\nfields   %q\nnet/http %q", wire, fields, theirs)
	}
}

func same[T comparable](t *testing.T, wire []byte, what string, ours, theirs T) {
	t.Helper()
	if ours != theirs {
		t.Fatalf("%q: %s: %v, net/http: %v", wire, what, ours, theirs)
	}
}
