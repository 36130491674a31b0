package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
)

const (
	// grpcPrefix is how many bytes stand before a message: whether it is compressed, and its length.
	grpcPrefix = 5
	// maxMessage bounds the message that answers; it needs two bytes.
	maxMessage = 1 << 10
)

// askGRPC makes one call of grpc.health.v1.Health/Check, as https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md says it is sent. It is made by hand:
// grpc.NewClient brings a resolver, a balancer and goroutines for a connection that lives, and costs half as much again, or more, where it is thrown away (BenchmarkGRPC).
func (p *Probe) askGRPC(ctx context.Context, t Target) error {
	message, err := proto.Marshal(&grpc_health_v1.HealthCheckRequest{Service: p.config.Service})
	if err != nil {
		return err
	}
	content := make([]byte, grpcPrefix, grpcPrefix+len(message))
	binary.BigEndian.PutUint32(content[1:], uint32(len(message)))
	content = append(content, message...)
	// Without a Grpc-Timeout: the end of the connection ends the call as well, and the server's answer would race it.
	r := &http.Request{
		Method: "POST", URL: &url.URL{Path: grpc_health_v1.Health_Check_FullMethodName}, Host: t.host(p.config.Host),
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}},
		Body:   io.NopCloser(bytes.NewReader(content)), ContentLength: int64(len(content)),
	}
	return t.exchange2(ctx, r, p.judgeGRPC)
}

// judgeGRPC looks at the answer to a call.
func (p *Probe) judgeGRPC(res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return answered(res.StatusCode)
	}
	text, err := readAll(res.Body, maxMessage)
	if err != nil {
		return err
	}
	fields := res.Trailer // they are there when the content has ended
	if fields.Get("Grpc-Status") == "" {
		fields = res.Header // an answer without a message is all head
	}
	code, err := strconv.ParseUint(fields.Get("Grpc-Status"), 10, 32)
	if err != nil {
		return plainError("answered without a gRPC status")
	}
	switch codes.Code(code) {
	case codes.OK:
	case codes.NotFound:
		return p.unknownService()
	case codes.Unimplemented:
		return plainError("UNIMPLEMENTED: has no gRPC health service (grpc.health.v1)")
	default:
		why, err := url.PathUnescape(fields.Get("Grpc-Message"))
		if err != nil || why == "" {
			return plainf("gRPC status %d %s", code, codes.Code(code))
		}
		return plainf("gRPC status %d %s: %s", code, codes.Code(code), printable(why, maxWords))
	}
	var said grpc_health_v1.HealthCheckResponse
	if len(text) < grpcPrefix || text[0] != 0 || int(binary.BigEndian.Uint32(text[1:])) != len(text)-grpcPrefix || proto.Unmarshal(text[grpcPrefix:], &said) != nil {
		return plainError("answered with what is no HealthCheckResponse")
	}
	switch said.Status {
	case grpc_health_v1.HealthCheckResponse_SERVING:
		return nil
	case grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN:
		return p.unknownService()
	}
	return plainf("answered %s", said.Status)
}

func (p *Probe) unknownService() error {
	return plainf("SERVICE_UNKNOWN: does not know the service %q", printable(p.config.Service, 100))
}
