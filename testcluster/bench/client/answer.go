//go:build linux

package client

import (
	"bytes"
	"fmt"
	"strconv"
)

// maxHead is the longest head of an answer.
const maxHead = 16 << 10

// answer looks at the answers of one HTTP/1.1 connection as they come, one after the other.
type answer struct {
	want []byte
	head []byte // the beginning of a head whose end has not come
	in   bool   // in the body
	size int    // of the body
	come int    // of the body
}

// feed takes what has come next. It says whether the answer is complete.
func (a *answer) feed(b []byte) (complete bool, err error) {
	if !a.in {
		head := b
		if len(a.head) > 0 {
			a.head = append(a.head, b...)
			head = a.head
		}
		end := bytes.Index(head, []byte("\r\n\r\n"))
		if end < 0 {
			if len(a.head) == 0 {
				a.head = append(a.head, b...)
			}
			if len(a.head) > maxHead {
				return false, fmt.Errorf("the head of an answer is longer than %d bytes", maxHead)
			}
			return false, nil
		}
		if a.size, err = bodySize(head[:end+2]); err != nil {
			return false, err
		}
		if a.size != len(a.want) {
			return false, fmt.Errorf("an answer of %d bytes, want %d", a.size, len(a.want))
		}
		a.in, a.come, a.head = true, 0, a.head[:0]
		b = head[end+4:]
	}
	if len(b) > a.size-a.come {
		return false, fmt.Errorf("%d bytes after the end of an answer: %q", len(b)-(a.size-a.come), b[a.size-a.come:])
	}
	if !bytes.Equal(b, a.want[a.come:a.come+len(b)]) {
		return false, fmt.Errorf("wrong bytes in an answer, after %d", a.come)
	}
	a.come += len(b)
	a.in = a.come < a.size
	return !a.in, nil
}

// bodySize is the Content-Length of a head that is otherwise as it should be.
func bodySize(head []byte) (int, error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("an answer that is no 200: %q", head)
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		const name = "content-length:"
		if len(line) > len(name) && line[len(name)-1] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
		}
	}
	return 0, fmt.Errorf("an answer without Content-Length: %q", head)
}
