package proxy

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tripod/proxy/web/rule"
)

// deafAddress is that of a host that does not even refuse: the kernel drops what would come in addition to a full queue.
func deafAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 100 {
		c, err := net.DialTimeout("tcp", at, 500*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("the kernel takes every connection")
	return ""
}

func TestConnectTimeout(t *testing.T) {
	short, none, hour := soon, time.Duration(0), time.Hour
	at := deafAddress(t)
	for name, timeouts := range map[string]rule.TimeoutsConfig{
		"connect":               {Connect: &short},
		"total, without limit":  {Connect: &none, Total: &short},
		"total before connect":  {Connect: &hour, Total: &short},
		"connect, and no total": {Connect: &short, Total: &none},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(c *Config) {
				withTimeouts(rule.TimeoutsConfig{Connect: &hour}, timeouts)(c)
				s := c.Services["web"]
				s.Servers = service(at).Servers
				c.Services["web"] = s
			}
			everyWay(t, nil, change, func(t *testing.T, w *way) {
				a := w.do(t, "POST", "/", "content")
				want(t, "status", a.StatusCode, 504)
				if !strings.HasPrefix(a.text, "504 Gateway Timeout: ") {
					t.Errorf("page %q", a.text)
				}
			})
		})
	}
}
