package health

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

func TestTCP(t *testing.T) {
	for _, tt := range []struct{ name, address, want string }{
		{"silent", silent(t), ""},
		{"garbage", say(t, "\x00\xff\n", false), ""},
		{"nobody", nobody(t), "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Config{Type: TCP, Timeout: patient}.Compile().Ask(t.Context(), Target{Address: tt.address, HTTP2: true})
			wants(t, err, tt.want)
		})
	}
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	good, old := a.issue(t, "shop.test", tomorrow), a.issue(t, "shop.test", time.Now().Add(-time.Minute))
	var name atomic.Value
	asked := func(n string) { name.Store(n) }
	trusting := &tls.Config{RootCAs: a.pool, ServerName: "shop.test", NextProtos: []string{"h2"}}
	for _, tt := range []struct {
		name, address string
		config        Config
		tls           *tls.Config
		want, sni     string
	}{
		{"not verified", secure(t, good, asked), Config{}, nil, "", "a.test"},
		{"not verified, another name", secure(t, good, asked), Config{Host: "b.test:443"}, nil, "", "b.test"},
		{"not verified, expired", secure(t, old, asked), Config{}, nil, "", "a.test"},
		{"verified", secure(t, good, asked), Config{}, trusting, "", "shop.test"},
		{"verified, another name", secure(t, good, asked), Config{Host: "b.test"}, trusting, "certificate: x509: certificate is valid for shop.test, not b.test", "b.test"},
		{"verified, expired", secure(t, old, asked), Config{}, trusting, "certificate: x509: certificate has expired", "shop.test"},
		{"verified, nobody vouches", secure(t, good, asked), Config{}, &tls.Config{ServerName: "shop.test"}, "certificate: x509: certificate signed by unknown authority", "shop.test"},
		{"garbage", say(t, "SSH-2.0-OpenSSH\r\n", true), Config{}, nil, "does not speak TLS", ""},
		{"plain HTTP", answer(t, "HTTP/1.1 400 Bad Request\r\n\r\n", false), Config{}, nil, "does not speak TLS", ""},
		{"silence", silent(t), Config{Timeout: hasty}, nil, "no answer within 100ms", ""},
		{"half a record", say(t, "\x16\x03\x03\x40\x00", true), Config{Timeout: hasty}, nil, "no answer within 100ms", ""},
		{"hang up", answer(t, "", false), Config{}, nil, "closed the connection without an answer", ""},
		{"reset", serve(t, reset), Config{}, nil, "connection reset", ""},
		{"nobody", nobody(t), Config{}, nil, "connection refused", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name.Store("")
			tt.config.Type = TLS
			if tt.config.Timeout == 0 {
				tt.config.Timeout = patient
			}
			_, err := tt.config.Compile().Ask(t.Context(), Target{Address: tt.address, Name: "a.test:443", TLS: tt.tls})
			wants(t, err, tt.want)
			if got := name.Load(); got != tt.sni {
				t.Errorf("asked for %q, want %q", got, tt.sni)
			}
		})
	}
	if trusting.ServerName != "shop.test" || len(trusting.NextProtos) != 1 {
		t.Error("a check changed the target's configuration")
	}
}

// The end of TLS is said before that of the connection.
func TestTLSEndsInOrder(t *testing.T) {
	end := make(chan error, 1)
	certificate := newAuthority(t).issue(t, "a.test", time.Now().Add(time.Hour))
	address := serve(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
		_, err := s.Read(make([]byte, 1))
		end <- err
	})
	_, err := Config{Type: TLS, Timeout: patient}.Compile().Ask(t.Context(), Target{Address: address})
	wants(t, err, "")
	if err := <-end; err == nil || err.Error() != "EOF" {
		t.Errorf("the server saw %v", err)
	}
}
