package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ErrProxyHeader is what the errors of ReadProxyHeader are that mean a wrong header, and not a connection that broke.
var ErrProxyHeader = errors.New("no valid PROXY header")

const (
	// proxyTimeout is how long a proxy may take for its header, which it sends with its first packet.
	proxyTimeout = 5 * time.Second
	// firstBytes are less than the shortest header of either version, "PROXY UNKNOWN\r\n".
	firstBytes = 13
	// longestV1 is the longest header of version 1.
	longestV1 = 107
	// longestV2 bounds what follows the first 16 bytes of version 2: addresses, and what a proxy has to say beside, which may
	// be a client's certificate.
	longestV2 = 4 << 10
	signature = "\r\n\r\n\x00\r\nQUIT\n"
)

// ProxyHeader is what a proxy said of its client's connection. The addresses are not valid if it said nothing: it opened the
// connection for itself (LOCAL), or does not know (UNKNOWN); then the connection's own count.
type ProxyHeader struct{ Source, Destination netip.AddrPort }

// ReadProxyHeader reads the header of the PROXY protocol, version 1 or 2, with which a fresh connection begins, and not a byte
// more: the connection is what it would be without, and its *net.TCPConn can be handed on. The header is demanded: on a
// connection whose first bytes may be anybody's, a client could send one itself (the protocol's specification, §2). It has
// to come whole within five seconds; the connection's deadline is taken away afterwards. After an error the connection is good for nothing.
//
// It blocks, and so is called by the connection's own goroutine and not by the one that accepts. What version 2 has beside the
// addresses is read and thrown away.
func ReadProxyHeader(c net.Conn) (ProxyHeader, error) { return readWithin(c, proxyTimeout) }

func readWithin(c net.Conn, limit time.Duration) (ProxyHeader, error) {
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return ProxyHeader{}, fmt.Errorf("read PROXY header: %w", err)
	}
	h, err := readProxyHeader(c)
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return ProxyHeader{}, fmt.Errorf("read PROXY header: %w", err)
	}
	return h, nil
}

func readProxyHeader(r io.Reader) (ProxyHeader, error) {
	var buf [longestV1]byte
	if _, err := io.ReadFull(r, buf[:firstBytes]); err != nil {
		return ProxyHeader{}, err
	}
	switch {
	case bytes.HasPrefix(buf[:], []byte(signature)):
		return readV2(r, buf[len(signature)])
	case bytes.HasPrefix(buf[:], []byte("PROXY ")):
		return readV1(r, &buf)
	}
	return ProxyHeader{}, fmt.Errorf("%w: the connection begins with something else", ErrProxyHeader)
}

// readV1 reads the rest of a line. It reads at most as much as the shortest line that goes on so has left.
func readV1(r io.Reader, buf *[longestV1]byte) (ProxyHeader, error) {
	n := firstBytes
	least := len("PROXY UNKNOWN\r\n")
	switch string(buf[:11]) {
	case "PROXY TCP4 ":
		least = len("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n")
	case "PROXY TCP6 ":
		least = len("PROXY TCP6 :: :: 1 1\r\n")
	}
	for {
		more := max(least-n, 2)
		if buf[n-1] == '\r' {
			more = 1
		}
		if n+more > len(buf) {
			return ProxyHeader{}, fmt.Errorf("%w: the line is longer than %d bytes", ErrProxyHeader, longestV1)
		}
		if _, err := io.ReadFull(r, buf[n:n+more]); err != nil {
			return ProxyHeader{}, err
		}
		n += more
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			if i != n-1 || buf[n-2] != '\r' {
				return ProxyHeader{}, fmt.Errorf("%w: the line does not end with CR LF", ErrProxyHeader)
			}
			return parseV1(string(buf[:n-2]))
		}
		if i := bytes.IndexByte(buf[:n], '\r'); i >= 0 && i != n-1 {
			return ProxyHeader{}, fmt.Errorf("%w: the line does not end with CR LF", ErrProxyHeader)
		}
	}
}

func parseV1(line string) (ProxyHeader, error) {
	words := strings.Split(line, " ")
	if len(words) >= 2 && words[1] == "UNKNOWN" {
		return ProxyHeader{}, nil // whatever follows is to be ignored
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return ProxyHeader{}, fmt.Errorf("%w: %q", ErrProxyHeader, line)
	}
	var h ProxyHeader
	for i, to := range []*netip.AddrPort{&h.Source, &h.Destination} {
		a, err := netip.ParseAddr(words[2+i])
		port, ok := parsePort(words[4+i])
		if err != nil || !ok || a.Zone() != "" || a.Is4() != (words[1] == "TCP4") {
			return ProxyHeader{}, fmt.Errorf("%w: %q", ErrProxyHeader, line)
		}
		*to = netip.AddrPortFrom(a.Unmap(), port)
	}
	return h, nil
}

// parsePort takes no sign and no leading zero.
func parsePort(s string) (uint16, bool) {
	if len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// readV2 reads what follows the signature and the byte with version and command.
func readV2(r io.Reader, command byte) (ProxyHeader, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return ProxyHeader{}, err
	}
	family, length := head[0], int(binary.BigEndian.Uint16(head[1:]))
	if command != 0x20 && command != 0x21 {
		return ProxyHeader{}, fmt.Errorf("%w: version and command %#02x", ErrProxyHeader, command)
	}
	if length > longestV2 {
		return ProxyHeader{}, fmt.Errorf("%w: %d bytes are more than %d", ErrProxyHeader, length, longestV2)
	}
	size := 0 // of an address
	switch family {
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x00, 0x12, 0x22, 0x31, 0x32: // unspecified, UDP and Unix: not what came to us, but well formed
	default:
		return ProxyHeader{}, fmt.Errorf("%w: family and protocol %#02x", ErrProxyHeader, family)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return ProxyHeader{}, err
	}
	if command == 0x20 || size == 0 {
		return ProxyHeader{}, nil
	}
	if length < 2*size+4 {
		return ProxyHeader{}, fmt.Errorf("%w: %d bytes are too few for two addresses", ErrProxyHeader, length)
	}
	source, _ := netip.AddrFromSlice(rest[:size])
	destination, _ := netip.AddrFromSlice(rest[size : 2*size])
	ports := rest[2*size:]
	return ProxyHeader{
		netip.AddrPortFrom(source.Unmap(), binary.BigEndian.Uint16(ports)),
		netip.AddrPortFrom(destination.Unmap(), binary.BigEndian.Uint16(ports[2:])),
	}, nil
}
