package proxy

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tripod/proxy/upstream"
)

// text is a message with a string in it: the health service's, so that no other has to be generated.
type text = grpc_health_v1.HealthCheckRequest

// speaker is the server of a service with a method of each kind.
type speaker struct {
	arrived, gone chan string
	deadline      chan time.Duration
}

func newSpeaker() *speaker {
	return &speaker{arrived: make(chan string, 10), gone: make(chan string, 10), deadline: make(chan time.Duration, 10)}
}

// wait waits for the end of a call, and tells when it has come.
func (s *speaker) wait(ctx context.Context, what string) error {
	if d, ok := ctx.Deadline(); ok {
		s.deadline <- time.Until(d)
	}
	s.arrived <- what
	<-ctx.Done()
	s.gone <- what
	return ctx.Err()
}

// say answers one message with one.
func (s *speaker) say(ctx context.Context, m *text) (*text, error) {
	in, _ := metadata.FromIncomingContext(ctx)
	switch m.Service {
	case "error":
		return nil, status.Error(codes.NotFound, "no such thing: ü%")
	case "trailers":
		grpc.SetTrailer(ctx, metadata.Pairs("why", "because"))
		return nil, status.Error(codes.FailedPrecondition, "later")
	case "wait":
		return nil, s.wait(ctx, "wait")
	}
	grpc.SendHeader(ctx, metadata.Pairs("seen", strings.Join(in.Get("mine"), "|"), "bytes-bin", "\x00\xff"))
	grpc.SetTrailer(ctx, metadata.Pairs("end", "here"))
	return &text{Service: "echo " + m.Service}, nil
}

// count answers one message with many; talk each of many.
func (s *speaker) count(m *text, stream grpc.ServerStream) error {
	for i := range 10 {
		if err := stream.SendMsg(&text{Service: fmt.Sprint(m.Service, i)}); err != nil {
			return err
		}
	}
	if m.Service == "silent" {
		return s.wait(stream.Context(), "count")
	}
	return status.Error(codes.ResourceExhausted, "no more")
}

func (s *speaker) talk(stream grpc.ServerStream) error {
	for {
		m := &text{}
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			s.gone <- "talk"
			return err
		}
		if err := stream.SendMsg(&text{Service: "echo " + m.Service}); err != nil {
			return err
		}
	}
}

// register adds the service to a server.
func (s *speaker) register(to *grpc.Server) {
	to.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Speaker", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := &text{}
			if err := decode(m); err != nil {
				return nil, err
			}
			return s.say(ctx, m)
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Count", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
				m := &text{}
				if err := stream.RecvMsg(m); err != nil {
					return err
				}
				return s.count(m, stream)
			}},
			{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error { return s.talk(stream) }},
		},
	}, s)
}

const megabytes = 1 << 20

// called is a proxy before a gRPC server, and a client.
type called struct {
	*way
	speaker *speaker
	server  *grpc.Server
	conn    *grpc.ClientConn
}

// everyCall runs a test with gRPC over every pair of HTTP/2 with and without TLS.
func everyCall(t *testing.T, test func(*testing.T, *called)) {
	t.Helper()
	for _, clientTLS := range []bool{false, true} {
		for _, to := range []upstream.Protocol{upstream.H2, upstream.H2C} {
			t.Run(fmt.Sprintf("tls=%v to %s", clientTLS, to), func(t *testing.T) {
				c := newCalled(t, clientTLS, to)
				test(t, c)
			})
		}
	}
}

func newCalled(t *testing.T, clientTLS bool, to upstream.Protocol) *called {
	t.Helper()
	c := &called{speaker: newSpeaker()}
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(32 * megabytes)}
	var ca string
	if to == upstream.H2 {
		config := testTLS(t)
		ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]}))
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	c.server = grpc.NewServer(options...)
	c.speaker.register(c.server)
	grpc_health_v1.RegisterHealthServer(c.server, health.NewServer())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go c.server.Serve(ln)
	t.Cleanup(c.server.Stop)
	c.way = newWay(t, nil, clientTLS, to, func(config *Config) {
		s := upstream.Config{Servers: service(ln.Addr().String()).Servers, Protocol: to}
		if ca != "" {
			s.TLS = &upstream.TLSConfig{CA: ca, Name: "a.test"}
		}
		config.Services["web"] = s
		l := config.Listeners["http"]
		l.H2C = !clientTLS
		config.Listeners["http"] = l
	})
	creds := insecure.NewCredentials()
	if clientTLS {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	}
	c.conn, err = grpc.NewClient("passthrough:///"+c.at, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32*megabytes)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// say calls the method that answers one message with one.
func (c *called) say(ctx context.Context, message string, options ...grpc.CallOption) (string, error) {
	answer := &text{}
	err := c.conn.Invoke(ctx, "/test.Speaker/Say", &text{Service: message}, answer, options...)
	return answer.Service, err
}

// stream begins a call of a method with streams.
func (c *called) stream(t *testing.T, ctx context.Context, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: method == "Talk"}, "/test.Speaker/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// limit bounds what a call may take before the test has failed.
func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestGRPCCalls(t *testing.T) {
	everyCall(t, func(t *testing.T, c *called) {
		var header, trailer metadata.MD
		ctx := metadata.AppendToOutgoingContext(limit(t), "mine", "a", "mine", "b c")
		answer, err := c.say(ctx, "hello", grpc.Header(&header), grpc.Trailer(&trailer))
		want(t, "answer", answer, "echo hello")
		want(t, "error", err, nil)
		want(t, "metadata at the server", strings.Join(header.Get("seen"), ","), "a|b c")
		want(t, "binary metadata", strings.Join(header.Get("bytes-bin"), ","), "\x00\xff")
		want(t, "trailer", strings.Join(trailer.Get("end"), ","), "here")
		if len(header.Get("x-request-id")) != 1 {
			t.Errorf("request id: %v", header)
		}
		c.logged(t, `"path":"/test.Speaker/Say"`, `"status":200`, `"protocol":"HTTP/2.0"`)

		for _, size := range []int{0, 1, 100_000, 9 * megabytes} {
			message := strings.Repeat("x", size)
			answer, err := c.say(limit(t), message)
			want(t, fmt.Sprint(size, " bytes"), answer == "echo "+message, true)
			want(t, fmt.Sprint(size, " bytes"), err, nil)
		}
		probe := grpc_health_v1.NewHealthClient(c.conn)
		res, err := probe.Check(limit(t), &grpc_health_v1.HealthCheckRequest{})
		want(t, "health", res.GetStatus(), grpc_health_v1.HealthCheckResponse_SERVING)
		want(t, "error", err, nil)
	})
}

// Errors without a message are heads alone, and arrive as what they are.
func TestGRPCErrors(t *testing.T) {
	everyCall(t, func(t *testing.T, c *called) {
		_, err := c.say(limit(t), "error")
		want(t, "code", status.Code(err), codes.NotFound)
		want(t, "message", status.Convert(err).Message(), "no such thing: ü%")
		var trailer metadata.MD
		_, err = c.say(limit(t), "trailers", grpc.Trailer(&trailer))
		want(t, "code", status.Code(err), codes.FailedPrecondition)
		want(t, "trailer", strings.Join(trailer.Get("why"), ","), "because")
		err = c.conn.Invoke(limit(t), "/test.Speaker/Nothing", &text{}, &text{})
		want(t, "unknown method", status.Code(err), codes.Unimplemented)
		_, err = grpc_health_v1.NewHealthClient(c.conn).Check(limit(t), &grpc_health_v1.HealthCheckRequest{Service: "what"})
		want(t, "unknown service", status.Code(err), codes.NotFound)
	})
}

func TestGRPCStreams(t *testing.T) {
	everyCall(t, func(t *testing.T, c *called) {
		count := c.stream(t, limit(t), "Count")
		count.SendMsg(&text{Service: "n"})
		count.CloseSend()
		for i := range 10 {
			m := &text{}
			if err := count.RecvMsg(m); err != nil {
				t.Fatal(err)
			}
			want(t, "message", m.Service, fmt.Sprint("n", i))
		}
		want(t, "end", status.Code(count.RecvMsg(&text{})), codes.ResourceExhausted)

		talk := c.stream(t, limit(t), "Talk")
		for i := range 20 {
			message := strings.Repeat("x", i*i*100)
			talk.SendMsg(&text{Service: message})
			m := &text{}
			if err := talk.RecvMsg(m); err != nil {
				t.Fatal(err)
			}
			want(t, "turn", m.Service == "echo "+message, true)
			c.apply(c.config) // disturbs nothing
		}
		talk.CloseSend()
		want(t, "end", talk.RecvMsg(&text{}), io.EOF)

		watch, err := grpc_health_v1.NewHealthClient(c.conn).Watch(limit(t), &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		res, err := watch.Recv()
		want(t, "health", res.GetStatus(), grpc_health_v1.HealthCheckResponse_SERVING)
		want(t, "error", err, nil)
	})
}

// A call's deadline reaches the server, and a call that ends at the client ends there.
func TestGRPCDeadlinesAndCancellation(t *testing.T) {
	everyCall(t, func(t *testing.T, c *called) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := c.say(ctx, "wait")
		want(t, "code", status.Code(err), codes.DeadlineExceeded)
		if left := <-c.speaker.deadline; left > 300*time.Millisecond {
			t.Errorf("the server's deadline is in %s", left)
		}
		want(t, "at the server", <-c.speaker.arrived+" "+<-c.speaker.gone, "wait wait")

		ctx, cancel = context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := c.say(ctx, "wait")
			done <- err
		}()
		<-c.speaker.arrived
		cancel()
		want(t, "code", status.Code(<-done), codes.Canceled)
		want(t, "at the server", <-c.speaker.gone, "wait")

		// In the middle of a stream in which nobody says anything.
		ctx, cancel = context.WithCancel(t.Context())
		count := c.stream(t, ctx, "Count")
		count.SendMsg(&text{Service: "silent"})
		count.CloseSend()
		for range 10 {
			if err := count.RecvMsg(&text{}); err != nil {
				t.Fatal(err)
			}
		}
		<-c.speaker.arrived
		cancel()
		want(t, "at the server", <-c.speaker.gone, "count")
		ctx, cancel = context.WithCancel(t.Context())
		talk := c.stream(t, ctx, "Talk")
		talk.SendMsg(&text{Service: "x"})
		if err := talk.RecvMsg(&text{}); err != nil {
			t.Fatal(err)
		}
		cancel()
		want(t, "at the server", <-c.speaker.gone, "talk")
		eventually(t, "no request", func() bool { return c.p.Status().Services[0].Servers[0].Active == 0 })
	})
}

func TestGRPCServerGone(t *testing.T) {
	everyCall(t, func(t *testing.T, c *called) {
		talk := c.stream(t, limit(t), "Talk")
		talk.SendMsg(&text{Service: "x"})
		if err := talk.RecvMsg(&text{}); err != nil {
			t.Fatal(err)
		}
		c.server.Stop()
		want(t, "a stream that broke off", status.Code(talk.RecvMsg(&text{})), codes.Internal)
		_, err := c.say(limit(t), "x")
		want(t, "code", status.Code(err), codes.Unavailable)
		c.logged(t, `"path":"/test.Speaker/Say"`, `"status":502`)
	})
}
