package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tripod/proxy/web/rule"
)

// headerV2 is a PROXY header of version 2 with an address, and something that we do not know behind it.
func headerV2(command byte, source string) string {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n")
	from := netip.MustParseAddrPort(source)
	family, addresses := byte(0x11), append(from.Addr().AsSlice(), 10, 0, 0, 1)
	if from.Addr().Is6() {
		family, addresses = 0x21, append(from.Addr().AsSlice(), net.IPv6loopback...)
	}
	addresses = binary.BigEndian.AppendUint16(addresses, from.Port())
	addresses = binary.BigEndian.AppendUint16(addresses, 443)
	addresses = append(addresses, 0x30, 0, 3, 'a', 'b', 'c') // a TLV
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)))
	return string(append(b, addresses...))
}

// proxied serves one listener, plain or TLS, to proxies that send a PROXY header.
func proxied(t *testing.T, encrypted bool, networks ...string) (*rig, string) {
	r := start(t)
	config, at := r.config(backend(t, dump))
	config.Listeners["http"] = ListenerConfig{Address: config.Listeners["http"].Address, TLS: encrypted, ProxyProtocol: networks}
	config.Routes = []RouteConfig{
		{Path: "/", Service: "web"},
		{Path: "/inside", Service: "web", Rules: rule.Config{Allow: []string{"192.0.2.0/24"}}},
	}
	r.apply(config)
	return r, at
}

// speak sends a header and then requests, over TLS or not, and returns the answers.
func speak(t *testing.T, at, header string, encrypted bool, paths ...string) (answers []string) {
	t.Helper()
	raw := dial(t, at)
	io.WriteString(raw, header)
	var c io.ReadWriter = raw
	if encrypted {
		c = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	}
	in := bufio.NewReader(c)
	for _, path := range paths {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", path)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "Status: %d\n", res.StatusCode)
		text.ReadFrom(res.Body)
		answers = append(answers, text.String())
	}
	return answers
}

func TestProxyHeaders(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		for _, tt := range []struct{ name, header, client string }{
			{"v1", "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n", "192.0.2.7"},
			{"v1 IPv6", "PROXY TCP6 2001:db8::7 ::1 5000 443\r\n", "2001:db8::7"},
			{"v1 unknown", "PROXY UNKNOWN\r\n", "127.0.0.1"},
			{"v2", headerV2(1, "192.0.2.7:5000"), "192.0.2.7"},
			{"v2 IPv6", headerV2(1, "[2001:db8::7]:5000"), "2001:db8::7"},
			{"v2 local", headerV2(0, "192.0.2.7:5000"), "127.0.0.1"},
		} {
			t.Run(fmt.Sprintf("%s tls=%v", tt.name, encrypted), func(t *testing.T) {
				r, at := proxied(t, encrypted, "127.0.0.0/8")
				answers := speak(t, at, tt.header, encrypted, "/first", "/second", "/inside")
				for _, a := range answers[:2] {
					want(t, "X-Forwarded-For", field(a, "X-Forwarded-For"), tt.client)
				}
				want(t, "let in", field(answers[2], "Status") == "200", strings.HasPrefix(tt.client, "192.0.2."))
				r.logged(t, `"path":"/second"`, `"client":"`+tt.client+`"`)
			})
		}
	}
}

// Whoever may send a header has to: else its client could. All are sent at once, for some wait until their time has passed.
func TestProxyHeaderIsDemanded(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()
	for _, encrypted := range []bool{false, true} {
		for _, tt := range []struct{ name, text string }{
			{"none", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"},
			{"bad", "PROXY TCP4 not an address\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"},
			{"wrong version", strings.Replace(headerV2(1, "192.0.2.7:1"), "\x21\x11", "\x11\x11", 1)},
			{"half, and then nothing", "PROXY TCP4 192.0.2.7 10."},
			{"half a v2", headerV2(1, "192.0.2.7:1")[:20]},
			{"nothing", ""},
		} {
			r, at := proxied(t, encrypted, "127.0.0.0/8")
			c := dial(t, at)
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, tt.text)
			all.Go(func() {
				got, err := io.ReadAll(c)
				if len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) || r.access.String() != "" {
					t.Errorf("%s, tls=%v: got %q, %v, logged %q", tt.name, encrypted, got, err, r.access)
				}
			})
		}
	}
}

func TestProxyHeaderOfOthersIsNoHeader(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		_, at := proxied(t, encrypted, "10.0.0.0/8")
		a := speak(t, at, "", encrypted, "/")[0]
		want(t, "X-Forwarded-For", field(a, "X-Forwarded-For"), "127.0.0.1")
		text := raw(t, at, "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if strings.Contains(text, " 200 ") {
			t.Errorf("taken: %q", text)
		}
	}
}

// The proxy's own proxy says where the connection comes from, and what it passes on says where the request does.
func TestProxyHeaderAndTrustedProxies(t *testing.T) {
	r, at := proxied(t, false, "127.0.0.0/8")
	c := r.p.config
	l := c.Listeners["http"]
	l.TrustedProxies = []string{"10.0.0.0/8"}
	c.Listeners = map[string]ListenerConfig{"http": l}
	r.apply(c)
	for header, believed := range map[string]bool{
		"PROXY TCP4 10.1.1.1 10.0.0.1 5000 443\r\n":  true,
		"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n": false,
	} {
		text := raw(t, at, header+"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\nConnection: close\r\n\r\n")
		want(t, header, strings.Contains(text, "198.51.100.1, 10.1.1.1"), believed)
		want(t, header, strings.Contains(text, "X-Forwarded-For: 192.0.2.7\r\n"), !believed)
	}
}
