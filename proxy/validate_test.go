package proxy

import (
	"strings"
	"testing"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

func checkFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var got []string
	if err != nil {
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			got = append(got, e.(interface{ Field() string }).Field()+": "+e.Error())
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %q, want %q", got, want)
		return
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}

func TestListenerValidate(t *testing.T) {
	for _, ok := range []ListenerConfig{
		{Address: ":80"}, {Address: "0.0.0.0:80"}, {Address: "[::]:443", TLS: true}, {Address: "[fe80::1%eth0]:80"}, {Address: "10.0.0.1:80", RedirectHTTPS: true},
		{Address: ":1", Protocol: TCP, Service: "x", TLS: true},
	} {
		checkFaults(t, ok.Validate())
	}
	for address, text := range map[string]string{
		"": "no address", "80": `"80" has no colon: did you mean ":80"?`, "a": `"a" has no port`, ":0": `port "0"`, ":x": `port "x"`, ":65536": "port", "localhost:80": `"localhost" is no IP address`,
		"*:80": `"*" is no IP address`, "::1:80": "", "1.2.3:80": `"1.2.3" is no IP address`,
	} {
		checkFaults(t, ListenerConfig{Address: address}.Validate(), "address: "+text)
	}
	checkFaults(t, ListenerConfig{Address: ":1", Protocol: "udp"}.Validate(), `protocol: unknown protocol "udp"`)
	checkFaults(t, ListenerConfig{Address: ":1", Protocol: TCP, RedirectHTTPS: true}.Validate(), "service: a tcp listener needs", "redirect_https: ")
	checkFaults(t, ListenerConfig{Address: ":1", Service: "x"}.Validate(), "service: an http listener")
	checkFaults(t, ListenerConfig{Address: ":1", TLS: true, RedirectHTTPS: true}.Validate(), "redirect_https: ")
	checkFaults(t, ListenerConfig{Address: ":1", H2C: true, RedirectHTTPS: true, ProxyProtocol: []string{"10.0.0.0/8"}, TrustedProxies: []string{"::1"}}.Validate())
	checkFaults(t, ListenerConfig{Address: ":1", TLS: true, H2C: true, ProxyProtocol: []string{"::1", "x"}, TrustedProxies: []string{}}.Validate(),
		"h2c: h2c is HTTP/2 without TLS", `proxy_protocol[1]: "x" is no network`, "trusted_proxies: is empty")
	checkFaults(t, ListenerConfig{Address: ":1", Protocol: TCP, Service: "x", H2C: true, ProxyProtocol: []string{"::1"}, TrustedProxies: []string{"::1"}}.Validate(),
		"h2c: a tcp listener", "proxy_protocol: a tcp listener", "trusted_proxies: a tcp listener")
}

func TestRouteValidate(t *testing.T) {
	for _, ok := range []RouteConfig{
		{Service: "x"}, {Host: "a.test", Path: "/a/", Service: "x"}, {Host: "*.a.test", Redirect: "https://b.test"}, {Host: "[::1]", Service: "x"}, {Host: "10.0.0.1", Redirect: "http://b:8080/x?y"},
	} {
		checkFaults(t, ok.Validate())
	}
	for host, text := range map[string]string{"a.*.test": "host", "*": "host", "http://a": `host "http://a" is a URL`, "a:80": `host "a:80" has a port`, "a b": `"a b" is no host name`, "*.": "", "*.[::1]": ""} {
		checkFaults(t, RouteConfig{Host: host, Service: "x"}.Validate(), "host: "+text)
	}
	for _, path := range []string{"a", "/a?b", "/a/../b", "/a/*"} {
		checkFaults(t, RouteConfig{Path: path, Service: "x"}.Validate(), "path: path ")
	}
	for _, redirect := range []string{"b.test", "ftp://b.test", "https://", "/x", "https://a b", "javascript:alert(1)"} {
		checkFaults(t, RouteConfig{Redirect: redirect}.Validate(), "redirect: ")
	}
	checkFaults(t, RouteConfig{}.Validate(), ": the route leads nowhere")
	respond := &rule.RespondConfig{Status: 200}
	checkFaults(t, RouteConfig{Rules: rule.Config{Respond: respond}}.Validate())
	checkFaults(t, RouteConfig{Service: "x", Path: "/p", Rules: rule.Config{StripPrefix: true, Status: 301}}.Validate(), "status: ")
	checkFaults(t, RouteConfig{Service: "x", Rules: rule.Config{StripPrefix: true, Allow: []string{"x"}}}.Validate(), "strip_prefix: ", `allow[0]: "x"`)
	checkFaults(t, RouteConfig{Redirect: "http://x", Rules: rule.Config{Respond: respond, Status: 200}}.Validate(), "respond: the route has both redirect and respond", "status: status 200")
	checkFaults(t, RouteConfig{Service: "x", Redirect: "http://x"}.Validate(), "redirect: the route has both service and redirect")
}

func TestConfigValidate(t *testing.T) {
	checkFaults(t, Config{
		Listeners: map[string]ListenerConfig{"a": {Address: ":1", Protocol: TCP, Service: "nil"}, "b": {Address: "x"}},
		Routes:    []RouteConfig{{Service: "nil"}, {}},
		Services:  map[string]upstream.Config{"s": {Servers: []upstream.ServerConfig{{}}, Rules: rule.Common{Compress: []string{"x"}}}},
	}.Validate(),
		`listeners.a.service: there is no service "nil"`, `listeners.b.address: "x"`, `routes[0].service: there is no service "nil"`,
		"routes[1]: the route leads nowhere", "services.s.servers[0].address: no address", `services.s.compress[0]: unknown encoding "x"`)
}
