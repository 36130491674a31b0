package upstream

import (
	"strings"
	"testing"
	"time"

	"tripod/proxy/upstream/health"
	"tripod/proxy/web/rule"
)

// faults returns "field: text" of each joined error.
func faults(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var out []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		f, ok := e.(interface{ Field() string })
		if !ok {
			t.Fatalf("%v has no field", e)
		}
		out = append(out, f.Field()+": "+e.Error())
	}
	return out
}

func TestValidate(t *testing.T) {
	ok := ServerConfig{Address: "10.0.0.1:80"}
	for _, tt := range []struct {
		config Config
		want   []string // beginnings
	}{
		{Config{Servers: []ServerConfig{ok, {Address: "[2001:db8::1]:80"}, {Address: "web_1.example.com:8080", Weight: ptr(0)}}}, nil},
		{Config{Servers: []ServerConfig{ok}, Health: &health.Config{Path: "/x", Timeout: time.Minute, Host: "a.test:80"}, Sticky: &StickyConfig{Cookie: "srv"}, Balance: LeastRequests}, nil},
		{Config{}, []string{"servers: no servers"}},
		{Config{Register: true}, nil},
		{Config{Servers: []ServerConfig{ok}, Protocol: H2C, Retries: &RetriesConfig{Hedge: time.Second}}, []string{"retries.hedge: a second server"}},
		{Config{Balance: "random", Servers: []ServerConfig{ok}}, []string{`balance: unknown balance "random"`}},
		{Config{Servers: []ServerConfig{ok, {Address: "10.0.0.1"}, {Address: "10.0.0.1:80"}, {Address: "http://x:80"}}},
			[]string{`servers[1].address: "10.0.0.1" has no port`, "servers[2].address: server 10.0.0.1:80 is listed twice", `servers[3].address: "http://x:80" is a URL`}},
		{Config{Servers: []ServerConfig{{Address: "10.0.0.256:80"}, {Address: "a:0"}, {Address: ":80"}, {Address: ""}, {Address: "a b:80"}, {Address: "[::1"}, {Address: "2001:db8::1"}}},
			[]string{`servers[0].address: "10.0.0.256" is neither`, `servers[1].address: port "0"`, "servers[2].address: \":80\" has no host", "servers[3].address: no address", "servers[4].address: \"a b\"", "servers[5].address: ", `servers[6].address: "2001:db8::1" has no port`}},
		{Config{Servers: []ServerConfig{{Address: "a:1", Weight: ptr(257), MaxConnections: -1}}}, []string{"servers[0].weight: weight 257", "servers[0].max_connections: "}},
		{Config{Servers: []ServerConfig{ok}, Protocol: H2C, Rules: rule.Common{Compress: []string{"gzip"}}}, nil},
		{Config{Servers: []ServerConfig{ok}, Limits: &LimitsConfig{Connections: 2, Requests: 3}}, nil},
		{Config{Servers: []ServerConfig{ok}, Protocol: H2C, Limits: &LimitsConfig{Connections: 2}}, []string{"limits.connections: servers that speak HTTP/2"}},
		{Config{Servers: []ServerConfig{ok}, Protocol: "grpc", Rules: rule.Common{Compress: []string{"gzip", "x"}, ErrorPages: map[string]string{"200": ""}}},
			[]string{`protocol: unknown protocol "grpc"`, `compress[1]: unknown encoding "x"`, `error_pages.200: "200" is no status`}},
		{Config{Servers: []ServerConfig{ok}, Sticky: &StickyConfig{Cookie: "a b"}}, []string{`sticky.cookie: "a b"`}},
		{Config{Servers: []ServerConfig{ok}, Health: &health.Config{Path: "x", Host: "a/b", Interval: -1, Timeout: 2, Rise: -1, Fall: -1}},
			[]string{"health.path: ", "health.interval: interval -1ns is negative", "health.timeout: timeout 2ns is below 1ms", "health.rise: ", "health.fall: ", "health.host: "}},
		{Config{Servers: []ServerConfig{ok}, Health: &health.Config{Path: "/a\r\nX: y"}}, []string{"health.path: "}},
	} {
		got := faults(t, tt.config.Validate())
		if len(got) != len(tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("got %q, want %q", got[i], tt.want[i])
			}
		}
	}
}

func FuzzValidHost(f *testing.F) {
	for _, s := range []string{"a.test", "a.test:80", "[::1]:80", "[::1]", "::1", "a..b", "1.2.3", "", ":", "a:b", "[fe80::1%eth0]", "xn--a.test."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidHost(s) && strings.ContainsAny(s, "/@?#\\ \r\n\t\"'<>%") {
			t.Errorf("%q passes", s)
		}
	})
}
