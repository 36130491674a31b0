package health

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framed starts a server that reads an HTTP/2 client's beginning and first request, answers as it is told, and waits for the other side to close.
func framed(t testing.TB, do func(f *http2.Framer, stream uint32)) string {
	return serve(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				do(f, h.StreamID)
				io.Copy(io.Discard, c)
				return
			}
		}
	})
}

// fields encodes a block of header fields, given as name, value, name, value.
func fields(text ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(text); i += 2 {
		e.WriteField(hpack.HeaderField{Name: text[i], Value: text[i+1]})
	}
	return b.Bytes()
}

func TestHTTP2(t *testing.T) {
	status := func(n int) string {
		return web(t, "h2c", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(n) }).Listener.Addr().String()
	}
	endless := web(t, "h2c", func(w http.ResponseWriter, r *http.Request) {
		for text := strings.Repeat("x", 4096); ; {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}).Listener.Addr().String()
	hanging := web(t, "h2c", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).Listener.Addr().String()
	for _, tt := range []struct {
		name, address string
		config        Config
		want          string
	}{
		{"ok", status(204), Config{}, ""},
		{"status", status(503), Config{}, "answered 503 Service Unavailable"},
		{"a status that is wanted", status(503), Config{Status: []string{"503"}}, ""},
		{"endless content", endless, Config{}, ""},
		{"endless content that matches", endless, Config{Body: "xxx"}, ""},
		{"endless content without a match", endless, Config{Body: "y"}, "the answer does not match y"},
		{"hangs", hanging, Config{Timeout: hasty}, "no answer within 100ms"},
		{"silence", silent(t), Config{Timeout: hasty}, "no answer within 100ms"},
		{"slow", framed(t, func(f *http2.Framer, id uint32) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields(":status", "200"), EndHeaders: true})
			for f.WriteData(id, false, []byte("x")) == nil {
				time.Sleep(5 * time.Millisecond)
			}
		}), Config{Body: "y", Timeout: hasty}, "no answer within 100ms"},
		{"only pings", framed(t, func(f *http2.Framer, id uint32) {
			for f.WritePing(false, [8]byte{}) == nil {
				time.Sleep(time.Millisecond)
			}
		}), Config{Timeout: hasty}, "no answer within 100ms"},
		{"endless head", framed(t, func(f *http2.Framer, id uint32) {
			block := fields(":status", "200", "x", strings.Repeat("x", 8000))
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block})
			for f.WriteContinuation(id, false, fields("x", strings.Repeat("x", 8000))) == nil {
			}
		}), Config{}, " "},
		{"endless interim", framed(t, func(f *http2.Framer, id uint32) {
			for f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields(":status", "103"), EndHeaders: true}) == nil {
			}
		}), Config{}, " "},
		{"stream refused", framed(t, func(f *http2.Framer, id uint32) { f.WriteRSTStream(id, http2.ErrCodeRefusedStream) }), Config{}, "REFUSED_STREAM"},
		{"stream reset", framed(t, func(f *http2.Framer, id uint32) { f.WriteRSTStream(id, http2.ErrCodeInternal) }), Config{}, "INTERNAL_ERROR"},
		{"going away", framed(t, func(f *http2.Framer, id uint32) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }), Config{Timeout: patient}, " "},
		{"content that breaks off", framed(t, func(f *http2.Framer, id uint32) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields(":status", "200"), EndHeaders: true})
			f.WriteData(id, false, []byte("x"))
			f.WriteRSTStream(id, http2.ErrCodeInternal)
		}), Config{Body: "y"}, "INTERNAL_ERROR"},
		{"garbage", say(t, "SSH-2.0-OpenSSH\r\n", true), Config{}, " "},
		{"HTTP/1.1", answer(t, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", false), Config{}, " "},
		{"hang up", answer(t, "", false), Config{}, "closed the connection without an answer"},
		{"reset", serve(t, func(c net.Conn) { io.ReadAtLeast(c, make([]byte, 100), 10); reset(c) }), Config{}, "connection reset"},
		{"nobody", nobody(t), Config{}, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.config.Timeout == 0 {
				tt.config.Timeout = patient
			}
			start := time.Now()
			_, err := tt.config.Compile().Ask(t.Context(), Target{Address: tt.address, HTTP2: true})
			wants(t, err, tt.want)
			if err != nil && len(err.Error()) > 2*maxWords {
				t.Errorf("not for people: %q", err)
			}
			if spent := time.Since(start); spent >= patient {
				t.Errorf("took %s: %v", spent, err)
			}
		})
	}
}

// Where the service speaks TLS with its servers, so does the check, and wants the same of them.
func TestHTTPOverTLS(t *testing.T) {
	s := web(t, "h2", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	h1 := newAuthority(t)
	onlyOld := serve(t, func(c net.Conn) {
		tls.Server(c, &tls.Config{Certificates: []tls.Certificate{h1.issue(t, "example.com", time.Now().Add(time.Hour))}, NextProtos: []string{"http/1.1"}}).Handshake()
	})
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	for _, tt := range []struct {
		name, address string
		tls           *tls.Config
		want          string
	}{
		{"ok", s.Listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "example.com"}, ""},
		{"another name", s.Listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "other.test"}, "certificate: x509: certificate is valid for"},
		{"nobody vouches", s.Listener.Addr().String(), &tls.Config{ServerName: "example.com"}, "certificate: x509: certificate signed by unknown authority"},
		{"whoever it is", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}, ""},
		{"not HTTP/2", onlyOld, &tls.Config{InsecureSkipVerify: true}, " "},
		{"not TLS", web(t, "h2c", func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}, " "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Config{Body: `^HTTP/2\.0$`, Host: "shop.test", Timeout: patient}.Compile().Ask(t.Context(), Target{Address: tt.address, HTTP2: true, TLS: tt.tls})
			wants(t, err, tt.want)
		})
	}
}
