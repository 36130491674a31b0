package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trailing answers with the header and the trailers that the server got.
func trailing(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, "length %d\n", r.ContentLength)
	r.Header.Write(w)
	io.WriteString(w, "trailers\n")
	r.Trailer.Write(w)
}

func TestClientsCannotSpoofAnyForwardedField(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, trailing))
	got := raw(t, at, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Ssl: evil\r\nx-forwarded-server: evil\r\nX-Forwarded-Prefix: /evil\r\n"+
		"X-FORWARDED-USER: evil\r\nX_Forwarded_User: evil\r\nX-Forwarded_Groups: evil\r\nX_FORWARDED_ANYTHING: evil\r\nX-Forwarded-: evil\r\n"+
		"FORWARDED: evil\r\nX_Real_IP: evil\r\nx-real-ip: evil\r\nX_Request_Id: evil\r\nX-Forwardedness: good\r\nXX-Forwarded-For: good\r\nConnection: close\r\n\r\n")
	if strings.Contains(got, "evil") {
		t.Errorf("got through:\n%s", got)
	}
	want(t, "fields that only look alike", strings.Count(got, ": good\r\n"), 2)
}

func TestClientsCannotSpoofWithTrailers(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, trailing))
	evil := []string{"X-Forwarded-For", "x-forwarded-proto", "X_Forwarded_User", "Forwarded", "X-Real-IP", "X-Request-Id", "Authorization",
		"Host", "Connection", "Cookie"}
	trailers := strings.Join(evil, ": evil\r\n") + ": evil\r\nX-Sum: good\r\n\r\n"
	for _, announced := range []string{"X-Sum, " + strings.Join(evil, ", "), "X-Sum"} {
		got := raw(t, at, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: "+announced+"\r\nConnection: close\r\n\r\n"+
			"1\r\nx\r\n0\r\n"+trailers)
		if strings.Contains(got, "evil") || !strings.Contains(got, "X-Sum: good\r\n") {
			t.Errorf("announced %q: server got:\n%s", announced, got)
		}
	}

	config, _ := r.config(backend(t, trailing))
	port := r.port()
	config.Listeners = map[string]ListenerConfig{"https": {Address: fmt.Sprintf(":%d", port), TLS: true}}
	r.apply(config)
	req, _ := http.NewRequest("POST", fmt.Sprintf("https://%s:%d/", r.local, port), io.MultiReader(strings.NewReader("data")))
	req.Trailer = http.Header{"X-Sum": {"good"}, "X-Forwarded-For": {"evil"}, "X_forwarded_proto": {"evil"}, "X-Request-Id": {"evil"}}
	res, err := client(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	want(t, "protocol", res.ProtoMajor, 2)
	if strings.Contains(string(b), "evil") || !strings.Contains(string(b), "X-Sum: good\r\n") {
		t.Errorf("over HTTP/2 the server got:\n%s", b)
	}
}

// RFC 9110 §7.8: a server ignores Upgrade in HTTP/1.0.
func TestNoUpgradeInHTTP10(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "plain")
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			c.Close()
		}
	}))
	const fields = "Host: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
	if got := raw(t, at, "GET / HTTP/1.0\r\n"+fields); !strings.Contains(got, " 200 OK\r\n") || !strings.HasSuffix(got, "plain") {
		t.Errorf("HTTP/1.0: %q", got)
	}
	if got := raw(t, at, "GET / HTTP/1.1\r\n"+fields); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Errorf("HTTP/1.1: %q", got)
	}
}

func TestOptionsOfTheWholeServerIsOurs(t *testing.T) {
	r := start(t)
	at := r.serve(named(t, "server"))
	got := raw(t, at, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	id := field(got, "X-Request-Id")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || id == "" || !strings.Contains(got, "request id: "+id) {
		t.Fatalf("got %q", got)
	}
	eventually(t, "a line in the log", func() bool {
		return strings.Contains(r.access.String(), id) && strings.Contains(r.access.String(), `"method":"OPTIONS"`)
	})
	eventually(t, "a count", func() bool {
		return r.metric("tripod_http_requests_total", "listener", "http", "service", "", "code", "400") == 1
	})
}

// What follows a request that breaks the rules is not taken for another one.
func TestRuleBreakersAreCutOff(t *testing.T) {
	r := start(t)
	at := r.serve(named(t, "server"))
	for _, c := range []struct{ request, status string }{
		{"GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", "505"},
		{"GET / HTTP/1.9\r\nHost: a.test\r\n\r\n", "505"},
		{"GET / HTTP/3.0\r\nHost: a.test\r\n\r\n", "505"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
		{"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"},
		{"GET file:///etc/passwd HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"},
		{"GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"},
		{"GET http://me@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"},
		{"GET HTTPS://me:secret@a.test?x HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"},
		{"GET / HTTP/1.1\r\nHost: me@a.test\r\n\r\n", "400"},
		{"GET foo:bar HTTP/1.1\r\nHost: a.test\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
		{"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\nx", "400"},
	} {
		got := raw(t, at, c.request+"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n") // returns when we close
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" ") || strings.Contains(got, "server") || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%q: got %q, want %s alone", c.request, got, c.status)
		}
	}
	for _, target := range []string{"http://a.test/x", "HTTPS://a.test:1", "http://a.test/@", "/http://me@b"} {
		host := "a.test"
		if strings.HasSuffix(target, ":1") {
			host += ":1"
		}
		if got := raw(t, at, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "server") {
			t.Errorf("%s: %q", target, got)
		}
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	const limit = 4
	r := start(t, func(o *Options) { o.MaxConnections = limit })
	config, web := r.config(named(t, "web"))
	tcp, stream := r.tcpConfig(service(echo(t, "tcp")), false)
	config.Listeners["tcp"] = tcp.Listeners["tcp"]
	for name, s := range tcp.Services {
		config.Services[name] = s
	}
	port := r.port()
	config.Listeners["https"] = ListenerConfig{Address: fmt.Sprintf(":%d", port), TLS: true}
	encrypted := fmt.Sprintf("%s:%d", r.local, port)
	r.apply(config)

	// Of each kind one, which says nothing.
	open := []io.Closer{dial(t, web), dial(t, web), dial(t, stream), dial(t, encrypted)}
	eventually(t, "the limit", func() bool { return r.p.gate.conns.Load() == limit })
	for i, at := range []string{web, stream, encrypted} {
		c, err := net.Dial("tcp", at)
		if err == nil { // or it was reset before it was known to be connected
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if n, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
				t.Errorf("%s: read %d, %v above the limit", at, n, err)
			}
			c.Close()
		} else if !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		want(t, "refused", r.metric("tripod_connections_refused_total"), float64(i+1))
	}
	eventually(t, "a line in the log", func() bool { return strings.Contains(r.log.String(), "connections refused") })
	want(t, "lines in the log", strings.Count(r.log.String(), "connections refused"), 1)

	// Whoever leaves makes room, whatever it was.
	for _, c := range open {
		c.Close()
		eventually(t, "room", func() bool { return r.p.gate.conns.Load() < limit })
		status, _ := get(t, client(t, false), "http://"+web)
		want(t, "status", status, 200)
	}
	eventually(t, "no other connection", func() bool { return r.p.gate.conns.Load() <= limit })
}

// Every way in which a connection ends is an end for the limit.
func TestEndedConnectionsAreNotCounted(t *testing.T) {
	r := start(t)
	config, web := r.config(backend(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			c.Close()
		}
	}))
	r.apply(config)
	raw(t, web, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	raw(t, web, "rubbish\r\n\r\n")
	port := r.port()
	config.Listeners["https"] = ListenerConfig{Address: fmt.Sprintf(":%d", port), TLS: true}
	r.apply(config)
	raw(t, fmt.Sprintf("%s:%d", r.local, port), "no handshake\r\n\r\n")
	if res, err := client(t, true).Get(fmt.Sprintf("https://%s:%d/", r.local, port)); err == nil {
		res.Body.Close()
	}
	eventually(t, "one that idles", func() bool { return r.p.gate.conns.Load() <= 1 })
	tcp, stream := r.tcpConfig(service(deadAddress(t)), false)
	r.apply(tcp) // closes the others
	raw(t, stream, "x")
	eventually(t, "none", func() bool { return r.p.gate.conns.Load() == 0 })
	if n := r.metric("tripod_connections_refused_total"); n != 0 {
		t.Errorf("%v refused", n)
	}
}

func TestClientLimitLeavesAReserve(t *testing.T) {
	for _, files := range []int64{256, 512, 1024, 4096, 20000, 1 << 20, 1<<31 - 1} {
		n := clientLimit(files)
		if n < files/8 && files > 512 || n < minClients || 2*n+reserve > files {
			t.Errorf("%d files: %d clients", files, n)
		}
	}
	want(t, "1024 files", clientLimit(1024), 409)
	want(t, "no files", clientLimit(0), minClients)
	if n := openFileLimit(); n < 64 {
		t.Errorf("this process may open %d files", n)
	}
	r := start(t)
	want(t, "by default", r.p.gate.limit, clientLimit(openFileLimit()))
}
