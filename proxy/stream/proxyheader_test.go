package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// v2 is a header of version 2.
func v2(command, family byte, rest string) string {
	b := append([]byte(signature), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

const (
	v4addresses = "\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x67\x01\xbb"
	v6addresses = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x67\x01\xbb"
)

func goodProxyHeaders() map[string]ProxyHeader {
	four := ProxyHeader{netip.MustParseAddrPort("192.0.2.1:4711"), netip.MustParseAddrPort("10.0.0.1:443")}
	six := ProxyHeader{netip.MustParseAddrPort("[2001:db8::1]:4711"), netip.MustParseAddrPort("[fd00::2]:443")}
	return map[string]ProxyHeader{
		"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n":                  four,
		"PROXY TCP4 1.1.1.1 2.2.2.2 1 0\r\n":                          {netip.MustParseAddrPort("1.1.1.1:1"), netip.MustParseAddrPort("2.2.2.2:0")},
		"PROXY TCP6 2001:db8::1 fd00::2 4711 443\r\n":                 six,
		"PROXY TCP6 :: ::1 1 2\r\n":                                   {netip.MustParseAddrPort("[::]:1"), netip.MustParseAddrPort("[::1]:2")},
		"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 4711 443\r\n":    four,
		"PROXY UNKNOWN\r\n":                                           {},
		"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 0\r\n":   {},
		"PROXY UNKNOWN " + strings.Repeat("x", longestV1-16) + "\r\n": {},
		v2(0x21, 0x11, v4addresses):                                   four,
		v2(0x21, 0x21, v6addresses):                                   six,
		v2(0x21, 0x11, v4addresses+"\x03\x00\x04abcd"):                four,
		v2(0x21, 0x11, v4addresses+strings.Repeat("x", longestV2-12)): four,
		v2(0x20, 0x00, ""):                                            {},
		v2(0x20, 0x11, v4addresses):                                   {}, // LOCAL: the addresses are to be ignored
		v2(0x21, 0x00, ""):                                            {},
		v2(0x21, 0x31, strings.Repeat("x", 216)):                      {},
	}
}

func TestProxyHeader(t *testing.T) {
	for text, want := range goodProxyHeaders() {
		r := strings.NewReader(text + "GET /")
		got, err := readProxyHeader(r)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "GET /" {
			t.Errorf("%q: %q is left", text, rest)
		}
		for i := range len(text) {
			if _, err := readProxyHeader(strings.NewReader(text[:i])); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: got %v", text[:i], err)
			}
		}
	}
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00", "PROXY\r\nxxxxxxxxxxxx", "proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rx\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", "PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n",
		"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", "PROXY TCP4 ::1 ::1 1 2           \r\n", "PROXY TCP4 ::1 2001:db8::1 1 12345\r\n",
		"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "PROXY TCP4 256.1.1.1 2.2.2.2 1 2\r\n", "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY UNKNOWNx\r\n",
		"PROXY TCP4 " + strings.Repeat("1", 200), "PROXY UNKNOWN " + strings.Repeat("x", longestV1-15) + "\r\n",
		v2(0x11, 0x11, v4addresses), v2(0x22, 0x11, v4addresses), v2(0x21, 0x13, v4addresses), v2(0x21, 0x41, v4addresses), v2(0x21, 0x11, v4addresses[:11]), v2(0x21, 0x21, v6addresses[:35]),
		v2(0x21, 0x11, v4addresses+strings.Repeat("x", longestV2)), signature[:11] + "x" + v2(0x21, 0x11, v4addresses)[12:],
	} {
		if got, err := readProxyHeader(strings.NewReader(text)); !errors.Is(err, ErrProxyHeader) {
			t.Errorf("%.60q: got %v, %v", text, got, err)
		}
	}
}

func TestProxyHeaderOfAConnection(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := func(send string) net.Conn {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		io.WriteString(client, send)
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return server
	}
	header := "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n"
	c := dial(header + "GET /")
	if h, err := ReadProxyHeader(c); err != nil || h.Source.String() != "192.0.2.1:4711" {
		t.Fatalf("got %v, %v", h, err)
	}
	buf := make([]byte, 100)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "GET /" {
		t.Errorf("after it: %q, %v", buf[:n], err)
	}
	c = dial(header[:20])
	start := time.Now()
	if _, err := readWithin(c, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > proxyTimeout/2 {
		t.Errorf("half a header: got %v after %s", err, time.Since(start))
	}
	c = dial("GET / HTTP/1.1\r\n\r\n")
	if _, err := ReadProxyHeader(c); !errors.Is(err, ErrProxyHeader) {
		t.Errorf("no header: got %v", err)
	}
}

func FuzzProxyHeader(f *testing.F) {
	for text := range goodProxyHeaders() {
		f.Add([]byte(text))
		f.Add([]byte(text[:len(text)-1] + "x"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		h, err := readProxyHeader(r)
		if err != nil {
			return
		}
		read := len(text) - r.Len()
		if read > 16+longestV2 || h.Source.IsValid() != h.Destination.IsValid() || h.Source.Addr().Is4In6() || h.Source.Addr().Zone() != "" {
			t.Fatalf("%q: %d read, %v", text, read, h)
		}
		if text[0] == 'P' && (!bytes.HasSuffix(text[:read], []byte("\r\n")) || bytes.IndexByte(text[:read], '\n') != read-1) {
			t.Fatalf("%q: the line is %q", text, text[:read])
		}
		if again, err := readProxyHeader(bytes.NewReader(text[:read])); err != nil || again != h {
			t.Fatalf("%q: again %v, %v", text, again, err)
		}
	})
}
