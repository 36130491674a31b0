package h1

import (
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"testing"

	"tripod/proxy/web/message"
)

// contents are put behind heads, so that fuzzing begins with whole messages.
var contents = []string{"", "hello", "5\r\nhello\r\n0\r\n\r\n", "1;a\r\nx\r\n0\r\nX: 1\r\n\r\nGET / HTTP/1.1\r\n"}

var acceptedHeads = []string{
	host + "\r\n", typicalRequest, typicalPost,
	host + "Content-Length: 5\r\n\r\n", host + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
	"\r\nPOST http://A/x?y HTTP/1.0\r\nHost: a:80\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
	"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET https://[::1]:8/ HTTP/1.1\r\nHost: [::1]:8\r\nPragma: no-cache\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
}

// FuzzRequest: heads that are accepted are understood by net/http in the same way, their content included; what came only in part is
// never taken for a whole; and only bytes that a rebuilt head may have get into it.
func FuzzRequest(f *testing.F) {
	for _, head := range acceptedHeads {
		for _, c := range contents {
			f.Add([]byte(head + c))
		}
	}
	for _, c := range refusedRequests {
		f.Add([]byte(c.head))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var r message.Request
		n, err := ParseRequest(&r, wire)
		checkEnd(t, wire, n, err)
		pieces(t, wire, n, err, func(b []byte) (int, error) { return ParseRequest(&r, b) })
		if err != nil {
			return
		}
		sameRequest(t, wire)
		if _, err = ParseRequest(&r, wire); err != nil {
			t.Fatalf("%q: the second time: %v", wire, err)
		}
		clean(t, wire, tokenByte, r.Method)
		clean(t, wire, targetByte, r.Target)
		cleanFields(t, wire, r.Fields)
		if r.Host != "" && !ValidAuthority(r.Host) {
			t.Fatalf("%q: host %q", wire, r.Host)
		}
	})
}

// FuzzResponse is FuzzRequest for responses to requests with or without content in their answer.
func FuzzResponse(f *testing.F) {
	for _, head := range []string{
		ok + "\r\n", typicalResponse, ok + "Content-Length: 5\r\n\r\n", ok + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n",
		"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
	} {
		for _, c := range contents {
			f.Add([]byte(head+c), false)
		}
		f.Add([]byte(head), true)
	}
	for _, c := range refusedResponses {
		f.Add([]byte(c.head), false)
	}
	f.Fuzz(func(t *testing.T, wire []byte, head bool) {
		var r message.Response
		n, err := ParseResponse(&r, wire)
		checkEnd(t, wire, n, err)
		pieces(t, wire, n, err, func(b []byte) (int, error) { return ParseResponse(&r, b) })
		if err != nil {
			return
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		sameResponse(t, wire, method)
		if _, err = ParseResponse(&r, wire); err != nil {
			t.Fatalf("%q: the second time: %v", wire, err)
		}
		cleanFields(t, wire, r.Fields)
		if r.Status < 100 || r.Status > 999 {
			t.Fatalf("%q: status %d", wire, r.Status)
		}
	})
}

// FuzzChunked: content comes out the same in whatever pieces it comes in, and as from net/http, which reads on to the same byte.
func FuzzChunked(f *testing.F) {
	for _, c := range chunkings {
		f.Add([]byte(c.wire), uint16(3))
	}
	f.Fuzz(func(t *testing.T, wire []byte, step uint16) {
		// What is wrong in a line of a long trailer section is noticed when the line ends.
		ended := append(slices.Clone(wire), '\n')
		whole := decode(ended, len(ended))
		for _, step := range []int{1, int(step)%256 + 1} {
			if d := decode(ended, step); !alike(d, whole) {
				t.Fatalf("%q in steps of %d: %s\nwhole: %s", ended, step, d, whole)
			}
		}
		whole = decode(wire, max(len(wire), 1))
		if errors.As(whole.err, new(*Error)) {
			return
		}
		in := reader(wire)
		content, err := io.ReadAll(httputil.NewChunkedReader(in.Reader))
		if string(content) != whole.content || whole.err == io.EOF && err != nil {
			t.Fatalf("%q: %s\nnet/http: %q, error %v", wire, whole, content, err)
		}
		sameRequest(t, append([]byte(host+"Transfer-Encoding: chunked\r\n\r\n"), wire...))
	})
}

// pieces looks at what is in some of the prefixes: all of them if they are few.
func pieces(t *testing.T, wire []byte, n int, want error, parse func([]byte) (int, error)) {
	end := len(wire)
	if want == nil {
		end = n
	}
	for i := 0; i < end; i += 1 + end/64 {
		_, err := parse(wire[:i:i])
		if err != ErrIncomplete && (err == nil || want == nil || err.Error() != want.Error()) {
			t.Fatalf("%q: %v, the whole of %q gives %v", wire[:i], err, wire, want)
		}
	}
}

// checkEnd checks what every answer of a parser fulfils.
func checkEnd(t *testing.T, wire []byte, n int, err error) {
	var wrong *Error
	switch {
	case err == nil:
		if n <= 0 || n > len(wire) || string(wire[n-4:n]) != "\r\n\r\n" {
			t.Fatalf("%q: ends at %d", wire, n)
		}
	case err == ErrIncomplete:
	case !errors.As(err, &wrong) || http.StatusText(wrong.Status) == "" || wrong.Status < 400 || wrong.Reason == "":
		t.Fatalf("%q: %v", wire, err)
	}
}

func clean(t *testing.T, wire []byte, c class, text string) {
	if !is(text, c) {
		t.Fatalf("%q: %q is taken", wire, text)
	}
}

func cleanFields(t *testing.T, wire []byte, fields []message.Field) {
	for _, f := range fields {
		clean(t, wire, tokenByte, f.Name)
		clean(t, wire, valueByte, f.Value)
		if f.Name == "" || f.Value != message.TrimOWS(f.Value) || f.Kind != message.KindOf(f.Name) {
			t.Fatalf("%q: field %q", wire, f)
		}
	}
}
