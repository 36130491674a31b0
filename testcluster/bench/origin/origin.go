// Package origin is the web server behind the proxies that are measured: HTTP/1.1 with keep-alive and nothing else, so
// that it takes as little as it can of the processors that it shares with them.
//
// It answers every request with [Small], /1m with [Large], and /echo with the head of the request, which shows what a
// proxy has made of it. It is no server for strangers: a request has no body.
package origin

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Small is the body of most answers.
func Small() []byte {
	return []byte(strings.Repeat("0123456789", 9) + "the end..\n")
}

// Large is a body of 1 MB, in which no part is like another, so that one that is lost or comes twice is noticed.
func Large() []byte {
	body := make([]byte, 0, 1<<20)
	for line := 0; len(body) < cap(body); line++ {
		body = fmt.Appendf(body, "line %058d\n", line)
	}
	return body[:1<<20]
}

// answer is a whole response. Its head has what those of most servers have.
func answer(body []byte) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n", len(body))
	return append([]byte(head), body...)
}

// maxHead is the longest head of a request.
const maxHead = 64 << 10

// Serve answers the connections of a listener until it is closed.
func Serve(l net.Listener) error {
	s := &server{small: answer(Small()), large: answer(Large())}
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go s.connection(c)
	}
}

// server has its answers ready.
type server struct{ small, large []byte }

// connection answers one request after the other. An error is the proxy's end of the connection.
func (s *server) connection(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 4<<10)
	filled := 0
	for {
		n, err := c.Read(buffer[filled:])
		if err != nil {
			return
		}
		filled += n
		end := bytes.Index(buffer[:filled], []byte("\r\n\r\n"))
		if end < 0 {
			if filled == maxHead {
				return
			}
			if filled == len(buffer) {
				buffer = append(buffer, make([]byte, len(buffer))...)
			}
			continue
		}
		if _, err := c.Write(s.answer(buffer[:end+4])); err != nil {
			return
		}
		filled = copy(buffer, buffer[end+4:filled])
	}
}

func (s *server) answer(head []byte) []byte {
	switch _, target, _ := bytes.Cut(head, []byte(" ")); {
	case bytes.HasPrefix(target, []byte("/1m ")):
		return s.large
	case bytes.HasPrefix(target, []byte("/echo ")):
		return answer(head)
	}
	return s.small
}
