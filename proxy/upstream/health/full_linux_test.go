package health

import (
	"context"
	"net"
	"syscall"
	"testing"
)

// full is an address at which no connection is taken and none is refused: the queue of those that wait to be accepted has no room left.
func full(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), hasty)
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		cancel()
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue never fills")
	return ""
}

// A connection that is not taken has no answer: the queue of the socket is full.
func TestTCPWithoutAnswer(t *testing.T) {
	_, err := Config{Type: TCP, Timeout: hasty}.Compile().Ask(t.Context(), Target{Address: full(t)})
	wants(t, err, "no answer within 100ms")
}
