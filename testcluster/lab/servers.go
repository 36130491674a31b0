//go:build linux

package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

const (
	webPort  = 8080
	echoPort = 7000
)

// serve starts the servers behind the cluster. The web server answers with the name of the host that asked it,
// which is the node that the request came through. /stream sends that name, one line every 25 ms, until the
// request ends, and /upgrade switches to a protocol of which it sends the same. The echo server sends back every line with that name before it.
func (l *Lab) serve() error {
	web, err := l.Servers.Listen("tcp", fmt.Sprintf(":%d", webPort))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, l.hostAt(r.RemoteAddr)) })
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/stream", l.stream)
	mux.HandleFunc("/upgrade", l.upgrade)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: Patience}
	go server.Serve(web) // until Close
	l.t.Cleanup(func() { server.Close() })

	lines, err := l.Servers.Listen("tcp", fmt.Sprintf(":%d", echoPort))
	if err != nil {
		return err
	}
	go echo(lines, func(c net.Conn) string { return l.hostAt(c.RemoteAddr().String()) })
	l.t.Cleanup(func() { lines.Close() })
	return nil
}

// hostAt is the name of the host with the address of a host:port, or the address.
func (l *Lab) hostAt(hostPort string) string {
	peer, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return hostPort
	}
	ip := peer.Addr().Unmap()
	for _, h := range l.hosts() {
		if ip == h.IP4 || ip == h.IP6 {
			return h.Name
		}
	}
	return ip.String()
}

func (l *Lab) stream(w http.ResponseWriter, r *http.Request) {
	rhythm := time.NewTicker(25 * time.Millisecond)
	defer rhythm.Stop()
	for {
		if _, err := fmt.Fprintln(w, l.hostAt(r.RemoteAddr)); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-rhythm.C:
		case <-r.Context().Done():
			return
		}
	}
}

func (l *Lab) upgrade(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
	for err == nil {
		time.Sleep(25 * time.Millisecond)
		_, err = fmt.Fprintln(conn, l.hostAt(r.RemoteAddr))
	}
}

// echo sends back every line with a name before it, until the listener is closed.
func echo(listener net.Listener, name func(net.Conn) string) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			lines := bufio.NewScanner(conn)
			for lines.Scan() {
				if _, err := io.WriteString(conn, name(conn)+" "+lines.Text()+"\n"); err != nil {
					return
				}
			}
		}()
	}
}

// Site is a document for the lab: HTTP on port 80 to the web server, and TCP on port 7000 to the echo server, under
// these VIPs.
func (l *Lab) Site(vips ...string) string {
	text := ""
	if len(vips) > 0 {
		text = "vips:\n"
	}
	for _, v := range vips {
		bits := bits4
		if ip, err := netip.ParseAddr(v); err == nil && ip.Is6() {
			bits = bits6
		}
		text += fmt.Sprintf("  - address: %q\n", v+"/"+strconv.Itoa(bits))
	}
	return text + fmt.Sprintf(`listeners:
  http: { address: ":80" }
  echo: { address: ":%[1]d", protocol: tcp, service: echo }
routes:
  - { service: web }
services:
  web: { servers: [ "%[2]s:%[3]d" ], health: { path: /healthz, interval: 200ms, timeout: 5s } }
  echo: { servers: [ "%[2]s:%[1]d" ] }
`, echoPort, l.Servers.IP4, webPort)
}
