//go:build linux

package outage

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// mode is what a server does with a request that it has read. Checks get the same as clients.
type mode string

const (
	well        mode = "well"
	refuse      mode = "refuse"
	hang        mode = "hang"
	slow        mode = "slow"
	garbage     mode = "garbage"
	reset       mode = "reset"
	cut         mode = "cut"
	closes      mode = "close"
	unavailable mode = "503"
)

const (
	// handling is how long a server takes for an answer: so a fault finds requests in its hands.
	handling = 5 * time.Millisecond
	// slowness is how long one takes that is slow.
	slowness = 300 * time.Millisecond
	// cutAfter is how long one waits that breaks off in the middle of an answer, so that its first half is on its way.
	cutAfter = 5 * time.Millisecond
	// smallAnswer is the content of answers, and that of largePath has largeSize bytes.
	smallAnswer = "hello"
	largePath   = "/large"
	largeSize   = 100_000
	checkPath   = "/health"
	echoPath    = "/echo" // answered with the request's head
	// numberField is the field with which clients number their requests.
	numberField = "X-Number"
	// maxContent bounds what is read of a request.
	maxContent = 1 << 20
)

// server is one of those behind the proxies, in its process. It is none for strangers.
type server struct {
	address string
	large   []byte

	mu     sync.Mutex
	out    io.Writer
	mode   mode
	healed chan struct{} // closed when the server becomes well
	ln     net.Listener  // nil while it refuses
	conns  map[net.Conn]bool
}

// Serve is a server on an address until in ends. A line of in is a mode, and is answered with the same line. Of each request but
// checks it writes when it saw it, in nanoseconds since 1970, its method and its number.
func Serve(address string, in io.Reader, out io.Writer) error {
	s := &server{address: address, large: largeAnswer(), out: out, mode: refuse, healed: make(chan struct{}), conns: map[net.Conn]bool{}}
	orders := bufio.NewScanner(in)
	for orders.Scan() {
		if err := s.turn(mode(orders.Text())); err != nil {
			return err
		}
	}
	return orders.Err()
}

// turn changes the mode.
func (s *server) turn(m mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode != well {
		close(s.healed)
		s.healed = make(chan struct{})
	}
	s.mode = m
	switch {
	case m == refuse && s.ln != nil:
		s.ln.Close()
		s.ln = nil
		for c := range s.conns {
			_ = c.SetReadDeadline(time.Now()) // those that idle end, and others after their answer
		}
	case m != refuse && s.ln == nil:
		ln, err := net.Listen("tcp", s.address)
		if err != nil {
			return err
		}
		s.ln = ln
		go s.accept(ln)
	}
	_, err := fmt.Fprintln(s.out, m)
	return err
}

func (s *server) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		if s.ln != ln {
			_ = c.SetReadDeadline(time.Now())
		}
		s.mu.Unlock()
		go s.serve(c)
	}
}

func (s *server) serve(c net.Conn) {
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(req.Body, maxContent)); err != nil {
			return
		}
		m, healed := s.saw(req)
		if !s.answer(c, req, m, healed) {
			return
		}
	}
}

// saw notes a request, and says what becomes of it.
func (s *server) saw(req *http.Request) (mode, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := req.Header.Get(numberField); n != "" {
		fmt.Fprintf(s.out, "%d %s %s\n", time.Now().UnixNano(), req.Method, n)
	}
	return s.mode, s.healed
}

// answer does what the mode says, and tells whether the connection goes on.
func (s *server) answer(c net.Conn, req *http.Request, m mode, healed <-chan struct{}) bool {
	status, content, delay := "200 OK", []byte(smallAnswer), handling
	switch req.URL.Path {
	case checkPath:
		delay = 0
	case largePath:
		content = s.large
	case echoPath:
		content, _ = httputil.DumpRequest(req, false)
	}
	switch m {
	case hang:
		<-healed
		return false
	case garbage:
		_, _ = io.WriteString(c, "what do you want?\r\n\r\n")
		return false
	case reset:
		discard(c)
		return false
	case closes:
		return false
	case slow:
		delay = slowness
	case unavailable:
		status = "503 Service Unavailable"
	}
	time.Sleep(delay)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n", status, len(content))
	if m == refuse {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	b.Write(content)
	if m == cut {
		_, _ = c.Write(b.Bytes()[:b.Len()-len(content)/2])
		time.Sleep(cutAfter)
		discard(c)
		return false
	}
	_, err := c.Write(b.Bytes())
	return err == nil && m != refuse
}

// discard lets a connection end with a reset.
func discard(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// largeAnswer is one in which no part is like another.
func largeAnswer() []byte {
	b := make([]byte, 0, largeSize+16)
	for i := 0; len(b) < largeSize; i++ {
		b = fmt.Appendf(b, "%09d\n", i)
	}
	return b[:largeSize]
}
