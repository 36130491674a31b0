package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// grpcServer starts a real gRPC server, with the real health service if there is one.
func grpcServer(t testing.TB, h *health.Server, options ...grpc.ServerOption) string {
	t.Helper()
	s := grpc.NewServer(options...)
	if h != nil {
		grpc_health_v1.RegisterHealthServer(s, h)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { s.Serve(ln); close(done) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return ln.Addr().String()
}

func TestGRPC(t *testing.T) {
	h := health.NewServer()
	h.SetServingStatus("shop.Cart", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("shop.Old", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("shop.New", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	h.SetServingStatus("shop.Odd", grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN)
	server := grpcServer(t, h)
	refusing := grpcServer(t, h, grpc.UnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, status.Error(codes.PermissionDenied, "not\x1b[31m you, 100 %")
	}))
	hanging := grpcServer(t, h, grpc.UnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	// said answers with a message and fields that follow it.
	said := func(message string, trailers ...string) string {
		return framed(t, func(f *http2.Framer, id uint32) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields(":status", "200", "content-type", "application/grpc"), EndHeaders: true})
			f.WriteData(id, false, []byte(message))
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: fields(trailers...), EndHeaders: true, EndStream: true})
		})
	}
	page := func(code int) string {
		return web(t, "h2c", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code); io.WriteString(w, "<html>") }).Listener.Addr().String()
	}
	const none, wrong = "answered with what is no HealthCheckResponse", "SERVICE_UNKNOWN: does not know the service"
	for _, tt := range []struct {
		name, address, service string
		timeout                time.Duration
		want                   string
	}{
		{"the server", server, "", patient, ""},
		{"serving", server, "shop.Cart", patient, ""},
		{"not serving", server, "shop.Old", patient, "answered NOT_SERVING"},
		{"unknown", server, "shop.New", patient, "answered UNKNOWN"},
		{"an unknown service", server, "shop.None", patient, wrong + ` "shop.None"`},
		{"an unknown service by its status", server, "shop.Odd", patient, wrong + ` "shop.Odd"`},
		{"no health service", grpcServer(t, nil), "", patient, "UNIMPLEMENTED: has no gRPC health service (grpc.health.v1)"},
		{"refusing", refusing, "", patient, "gRPC status 7 PermissionDenied: not�[31m you, 100 %"},
		{"hanging", hanging, "", hasty, "no answer within 100ms"},
		{"a page", page(200), "", patient, "answered without a gRPC status"},
		{"404", page(404), "", patient, "answered 404 Not Found"},
		{"by hand", said("\x00\x00\x00\x00\x02\x08\x01", "grpc-status", "0"), "", patient, ""},
		{"no message", said("", "grpc-status", "0"), "", patient, none},
		{"too short", said("\x00\x00\x00\x00\x03\x08\x01", "grpc-status", "0"), "", patient, none},
		{"too long", said("\x00\x00\x00\x00\x01\x08\x01", "grpc-status", "0"), "", patient, none},
		{"compressed", said("\x01\x00\x00\x00\x02\x08\x01", "grpc-status", "0"), "", patient, none},
		{"garbage in it", said("\x00\x00\x00\x00\x02\xff\xff", "grpc-status", "0"), "", patient, none},
		{"another number", said("\x00\x00\x00\x00\x02\x08\x63", "grpc-status", "0"), "", patient, "answered 99"},
		{"no status", said("\x00\x00\x00\x00\x02\x08\x01", "x", "y"), "", patient, "answered without a gRPC status"},
		{"garbage for a status", said("\x00\x00\x00\x00\x02\x08\x01", "grpc-status", "fine"), "", patient, "answered without a gRPC status"},
		{"an unknown status", said("", "grpc-status", "77", "grpc-message", "%zz"), "", patient, "gRPC status 77 Code(77)"},
		{"a flood", said(string(make([]byte, 10000)), "grpc-status", "0"), "", patient, "answered with more than 1024 bytes"},
		{"silence", silent(t), "", hasty, "no answer within 100ms"},
		{"nobody", nobody(t), "", patient, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Config{Type: GRPC, Service: tt.service, Timeout: tt.timeout}.Compile().Ask(t.Context(), Target{Address: tt.address, HTTP2: true})
			wants(t, err, tt.want)
		})
	}
}

func TestGRPCOverTLS(t *testing.T) {
	a := newAuthority(t)
	address := grpcServer(t, health.NewServer(), grpc.Creds(credentials.NewServerTLSFromCert(ptr(a.issue(t, "grpc.test", time.Now().Add(time.Hour))))))
	for name, want := range map[string]string{"grpc.test": "", "other.test": "certificate: x509: certificate is valid for grpc.test"} {
		c := &tls.Config{RootCAs: a.pool, ServerName: name}
		_, err := Config{Type: GRPC, Timeout: patient}.Compile().Ask(t.Context(), Target{Address: address, HTTP2: true, TLS: c})
		wants(t, err, want)
	}
}

func ptr[T any](v T) *T { return &v }

// Whatever a server's message holds, only SERVING passes.
func FuzzGRPCAnswer(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x01"), "0", "")
	f.Add([]byte("\x00\x00\x00\x00\x02\x08\x02"), "0", "")
	f.Add([]byte{}, "5", "%20")
	f.Add([]byte("\x00\x00\x00\x00\x06\x08\x02\x08\x01\x12\x00"), "0", "")
	p := Config{Type: GRPC}.Compile()
	f.Fuzz(func(t *testing.T, text []byte, code, message string) {
		res := &http.Response{StatusCode: 200, Header: http.Header{}, Trailer: http.Header{"Grpc-Status": {code}, "Grpc-Message": {message}}, Body: io.NopCloser(bytes.NewReader(text))}
		err := p.judgeGRPC(res)
		if err == nil && (!bytes.Contains(text, []byte{0x08}) || len(text) < 7) {
			t.Errorf("%q passes", text)
		}
		if err != nil && len(err.Error()) > 2*maxWords {
			t.Errorf("%q, %q, %q is told as %q", text, code, message, err)
		}
	})
}

// What a check costs, against the same with the client of the library, which is there for connections that stay.
func BenchmarkGRPC(b *testing.B) {
	address := grpcServer(b, health.NewServer())
	p := Config{Type: GRPC, Timeout: patient}.Compile()
	b.Run("probe", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Ask(b.Context(), Target{Address: address, HTTP2: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := grpc_health_v1.NewHealthClient(c).Check(b.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	})
}
