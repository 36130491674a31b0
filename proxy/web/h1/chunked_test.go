package h1

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"tripod/proxy/web/message"
)

// decoded is what Chunked makes of bytes.
type decoded struct {
	content  string
	trailers string
	used     int
	err      error // io.EOF if it came to its end, ErrIncomplete if bytes are missing
}

func (d decoded) String() string {
	return fmt.Sprintf("%d bytes, error %v, trailers %q, content %q", d.used, d.err, d.trailers, d.content)
}

// decode takes the coding off bytes that come in steps, as whoever reads a connection does: what was not taken is there again the next
// time.
func decode(wire []byte, step int) decoded {
	var c Chunked
	var d decoded
	var content []byte
	for there := 0; there < len(wire); {
		there = min(there+step, len(wire))
		for {
			buf := wire[d.used:there:there]
			data, n, err := c.Decode(buf)
			content = append(content, data...)
			d.used += n
			if err != nil {
				d.content, d.err = string(content), err
				for _, f := range c.Trailers {
					d.trailers += f.Name + "=" + f.Value + ";"
				}
				return d
			}
			if len(data) == 0 {
				break
			}
		}
	}
	d.content, d.err = string(content), ErrIncomplete
	return d
}

// tooMuch is content with more extensions than anybody needs.
var tooMuch = strings.Repeat("1;"+strings.Repeat("x", 600)+"\r\na\r\n", 30) + "0\r\n\r\n"

var long = strings.Repeat("x", 1500)

var chunkings = []struct {
	rule, wire        string
	content, trailers string // of what is good
	status            int    // of what is refused
	reason            string
}{
	{rule: "RFC 9112 §7.1", wire: "0\r\n\r\n"},
	{rule: "RFC 9112 §7.1", wire: "5\r\nhello\r\n0\r\n\r\n", content: "hello"},
	{rule: "RFC 9112 §7.1", wire: "1\r\na\r\n002\r\n\r\n\r\nA\r\n0123456789\r\n000\r\n\r\n", content: "a\r\n0123456789"},
	{rule: "RFC 9112 §7.1", wire: "9\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n", content: "0\r\n\r\n0\r\n\r"},
	{rule: "RFC 9112 §7.1", wire: "00000000000000f\r\n0123456789abcde\r\n0\r\n\r\n", content: "0123456789abcde"},
	{rule: "RFC 9112 §7.1.1", wire: "1;a=b;c=\"d;\"; \t\xff\r\na\r\n0;last\r\n\r\n", content: "a"},
	{rule: "RFC 9112 §7.1.1", wire: "1;\r\na\r\n0;" + strings.Repeat("x", 1000) + "\r\n\r\n", content: "a"},
	{rule: "RFC 9112 §7.1.1", wire: strings.Repeat("1\r\na\r\n", 5000) + "0\r\n\r\n", content: strings.Repeat("a", 5000)},
	{rule: "RFC 9112 §7.1.2", wire: "0\r\nX: 1\r\ny:\r\n\r\n", trailers: "X=1;y=;"},
	{rule: "RFC 9112 §7.1.2", wire: "0\r\nX: " + long + "\r\nY: " + long + "\r\n\r\n", trailers: "X=" + long + ";Y=" + long + ";"},
	{rule: "RFC 9110 §6.5.1", wire: "0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\nExpect: x\r\nX: 1\r\n\r\n", trailers: "X=1;"},

	{rule: "RFC 9112 §7.1", wire: "\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: "x\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: "-1\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: "+1\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: " 1\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: ";a\r\n\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: "\n0\r\n\r\n", status: 400, reason: "a chunk without a size"},
	{rule: "RFC 9112 §7.1", wire: "0x1\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1 \r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1\t;a\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1 1\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1,a\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1_0\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1.0\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1\x00\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "1;a\x00\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is followed by something else than an extension or the line's end"},
	{rule: "RFC 9112 §7.1", wire: "7fffffffffffffff\r\n", status: 400, reason: "a chunk size that is too large"},
	{rule: "RFC 9112 §7.1", wire: "8000000000000000\r\n", status: 400, reason: "a chunk size that is too large"},
	{rule: "RFC 9112 §7.1", wire: "ffffffffffffffff\r\n", status: 400, reason: "a chunk size that is too large"},
	{rule: "RFC 9112 §7.1", wire: "10000000000000005\r\nhello\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is too large"},
	{rule: "RFC 9112 §7.1", wire: "0000000000000001\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk size that is too large"},
	{rule: "RFC 9112 §7.1.1", wire: "1;" + strings.Repeat("x", MostChunkLine) + "\r\na\r\n0\r\n\r\n", status: 400, reason: "chunk extensions that are too long"},
	{rule: "RFC 9112 §7.1.1", wire: tooMuch, status: 400, reason: "more chunk framing than content"},
	{rule: "RFC 9112 §2.2", wire: "1\na\r\n0\r\n\r\n", status: 400, reason: "a line feed without a carriage return"},
	{rule: "RFC 9112 §2.2", wire: "1;a\na\r\n0\r\n\r\n", status: 400, reason: "a line feed without a carriage return"},
	{rule: "RFC 9112 §2.2", wire: "1;a\nb\r\na\r\n0\r\n\r\n", status: 400, reason: "a line feed without a carriage return"},
	{rule: "RFC 9112 §2.2", wire: "1\ra\r\n0\r\n\r\n", status: 400, reason: "a carriage return that is not followed by a line feed"},
	{rule: "RFC 9112 §2.2", wire: "1;a\rb\r\na\r\n0\r\n\r\n", status: 400, reason: "a carriage return that is not followed by a line feed"},
	{rule: "RFC 9112 §2.2", wire: "1\r\r\na\r\n0\r\n\r\n", status: 400, reason: "a carriage return that is not followed by a line feed"},
	{rule: "RFC 9112 §7.1", wire: "1\r\na\n0\r\n\r\n", status: 400, reason: "a chunk that is longer than its size"},
	{rule: "RFC 9112 §7.1", wire: "1\r\na\r0\r\n\r\n", status: 400, reason: "a chunk that is longer than its size"},
	{rule: "RFC 9112 §7.1", wire: "1\r\nab\r\n0\r\n\r\n", status: 400, reason: "a chunk that is longer than its size"},
	{rule: "RFC 9112 §7.1", wire: "1\r\na0\r\n\r\n", status: 400, reason: "a chunk that is longer than its size"},
	{rule: "RFC 9112 §7.1", wire: "3\r\na\r\n0\r\n\r\n", status: 400, reason: "a chunk that is longer than its size"},
	{rule: "RFC 9112 §2.2", wire: "0\n\n", status: 400, reason: "a line feed without a carriage return"},
	{rule: "RFC 9112 §5", wire: "0\r\n\n", status: 400, reason: "a field line without a colon"},
	{rule: "RFC 9112 §2.2", wire: "0\r\n\r\r\n", status: 400, reason: "a carriage return that is not followed by a line feed"},
	{rule: "RFC 9112 §2.2", wire: "0\r\n\rX", status: 400, reason: "a carriage return that is not followed by a line feed"},
	{rule: "RFC 9112 §5", wire: "0\r\nGET\r\n\r\n", status: 400, reason: "a field line without a colon"},
	{rule: "RFC 9112 §5.1", wire: "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", status: 400, reason: "white space between a field's name and its colon"},
	{rule: "RFC 9112 §5.1", wire: "0\r\nX : 1\r\n\r\n", status: 400, reason: "white space between a field's name and its colon"},
	{rule: "RFC 9112 §5.2", wire: "0\r\nX: 1\r\n 2\r\n\r\n", status: 400, reason: "a field line that is folded, or begins with white space"},
	{rule: "RFC 9112 §2.2", wire: "0\r\nX: 1\n\r\n", status: 400, reason: "a line feed without a carriage return"},
	{rule: "RFC 9110 §5.5", wire: "0\r\nX: \x00\r\n\r\n", status: 400, reason: "a control character in a field's value"},
	{rule: "RFC 9112 §6.3", wire: "0\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", status: 400, reason: "more than one Content-Length"},
	{rule: "RFC 9112 §6.1", wire: "0\r\nTransfer-Encoding: gzip\r\n\r\n", status: 400, reason: "a Transfer-Encoding other than chunked"},
	{rule: "RFC 6585 §5", wire: "0\r\n" + strings.Repeat("X: 1\r\n", MostFields+1) + "\r\n", status: 431, reason: "more fields than are taken"},
}

func TestChunked(t *testing.T) {
	for _, c := range chunkings {
		t.Run(c.rule+" "+short(c.wire), func(t *testing.T) {
			whole := decode([]byte(c.wire+"GET /next"), len(c.wire)+9)
			if c.reason != "" {
				checkRefusal(t, whole.err, refusal{c.rule, c.wire, c.status, c.reason})
			} else if whole != (decoded{c.content, c.trailers, len(c.wire), io.EOF}) {
				t.Errorf("%.100q: %.200s", c.wire, whole)
			}
			for _, step := range []int{1, 2, 3, 5, 64} {
				d := decode([]byte(c.wire+"GET /next"), step)
				if !alike(d, whole) {
					t.Errorf("%.100q in steps of %d: %.200s, whole: %.200s", c.wire, step, d, whole)
				}
			}
			for n := 0; n < len(c.wire); n += 1 + len(c.wire)/2000 {
				d := decode([]byte(c.wire[:n]), max(n, 1))
				if d.err == io.EOF || !strings.HasPrefix(whole.content, d.content) ||
					d.err != ErrIncomplete && (whole.err == nil || d.err.Error() != whole.err.Error()) {
					t.Fatalf("%q: %.200s, whole: %.200s", c.wire[:n], d, whole)
				}
			}
		})
	}
}

// alike compares what bytes gave when they came in different pieces. How far a refused message was read does not matter.
func alike(a, b decoded) bool {
	var wrong *Error
	if errors.As(a.err, &wrong) && errors.As(b.err, &wrong) {
		return a.content == b.content && a.err.Error() == b.err.Error()
	}
	return a == b
}

// Trailers outlive the buffer that they came in.
func TestTrailersAreCopies(t *testing.T) {
	wire := []byte("0\r\nX: 1\r\n\r\n")
	var c Chunked
	if _, _, err := c.Decode(wire); err != io.EOF {
		t.Fatal(err)
	}
	clear(wire)
	if want := (message.Field{Name: "X", Value: "1"}); len(c.Trailers) != 1 || c.Trailers[0] != want {
		t.Errorf("%q", c.Trailers)
	}
}

// What is written is what is read.
func TestWrittenChunksAreRead(t *testing.T) {
	fields := []message.Field{{Name: "X", Value: "1"}, {Name: "Y", Value: ""}}
	var wire []byte
	var content string
	for _, size := range []int{1, 15, 16, 255, 4096, 100000} {
		part := strings.Repeat("\r\n0", size)[:size]
		wire = append(append(AppendChunk(wire, size), part...), "\r\n"...)
		content += part
	}
	wire = AppendLast(wire, fields)
	if d := decode(wire, 1000); d != (decoded{content, "X=1;Y=;", len(wire), io.EOF}) {
		t.Errorf("%.200s", d)
	}
}
