package config

import (
	"reflect"
	"testing"
	"time"

	"tripod/proxy"
	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// hash is bcrypt's of "secret".
const hash = "$2y$04$DUCtgqP2/kKFKcQXMPIV6.n/CQEBMX0qRCcX7/FSuF4gdbnuMeswi"

func TestRulesOfADocument(t *testing.T) {
	d := parse(t, `
listeners:
  https: { address: ":443", tls: true, proxy_protocol: [10.0.0.0/8, "2001:db8::1"] }
  plain: { address: ":80", h2c: true, trusted_proxies: [10.0.0.0/8] }
routes:
  - path: /api/
    service: api
    strip_prefix: true
    allow: [10.0.0.0/8, "2001:db8::/32"]
    deny: [10.6.6.6]
    basic_auth: { realm: "Staff", users: { alice: `+hash+`, b.c@d.test: `+hash+` } }
    max_body: 10MiB
    timeouts: { first_byte: 0s, total: 2m }
    request_headers: { set: { X-A: "b{client}", Host: x.test }, add: { X-C: d }, remove: [X-E] }
    response_headers: { set: { Strict-Transport-Security: "max-age=1" }, remove: [Server] }
    compress: [zstd, br, gzip]
    error_pages: { 503: "<h1>soon</h1>", 5xx: "down" }
    forwarded: both
  - { path: /v1, service: api, rewrite: /v2/, max_body: 0 }
  - { host: old.test, redirect: "https://x.test", status: 301 }
  - { path: /healthz, respond: { body: "ok\n", content_type: text/plain, headers: { X-A: "{id}" } } }
services:
  api: { servers: [a:1], protocol: h2c, max_body: 1048576, compress: [] }
`)
	size := func(n rule.Size) *rule.Size { return &n }
	duration := func(d time.Duration) *time.Duration { return &d }
	wantListeners := map[string]proxy.ListenerConfig{
		"https": {Address: ":443", Protocol: proxy.HTTP, TLS: true, ProxyProtocol: []string{"10.0.0.0/8", "2001:db8::1"}},
		"plain": {Address: ":80", Protocol: proxy.HTTP, H2C: true, TrustedProxies: []string{"10.0.0.0/8"}},
	}
	wantRoutes := []proxy.RouteConfig{
		{Path: "/api/", Service: "api", Rules: rule.Config{
			StripPrefix: true,
			Allow:       []string{"10.0.0.0/8", "2001:db8::/32"},
			Deny:        []string{"10.6.6.6"},
			BasicAuth:   &rule.BasicAuthConfig{Realm: "Staff", Users: map[string]string{"alice": hash, "b.c@d.test": hash}},
			Forwarded:   "both",
			Common: rule.Common{
				MaxBody:         size(10 << 20),
				Timeouts:        &rule.TimeoutsConfig{FirstByte: duration(0), Total: duration(2 * time.Minute)},
				RequestHeaders:  &rule.HeadersConfig{Set: map[string]string{"X-A": "b{client}", "Host": "x.test"}, Add: map[string]string{"X-C": "d"}, Remove: []string{"X-E"}},
				ResponseHeaders: &rule.HeadersConfig{Set: map[string]string{"Strict-Transport-Security": "max-age=1"}, Remove: []string{"Server"}},
				Compress:        []string{"zstd", "br", "gzip"},
				ErrorPages:      map[string]string{"503": "<h1>soon</h1>", "5xx": "down"},
			},
		}},
		{Path: "/v1", Service: "api", Rules: rule.Config{Rewrite: "/v2/", Common: rule.Common{MaxBody: size(0)}}},
		{Host: "old.test", Path: "/", Redirect: "https://x.test", Rules: rule.Config{Status: 301}},
		{Path: "/healthz", Rules: rule.Config{Respond: &rule.RespondConfig{Status: 200, Body: "ok\n", ContentType: "text/plain", Headers: map[string]string{"X-A": "{id}"}}}},
	}
	wantServices := map[string]upstream.Config{"api": {Balance: upstream.RoundRobin, AllDown: upstream.FailFast, Protocol: upstream.H2C, Servers: []upstream.ServerConfig{{Address: "a:1"}},
		Rules: rule.Common{MaxBody: size(1 << 20), Compress: []string{}}}}
	if !reflect.DeepEqual(d.Listeners, wantListeners) {
		t.Errorf("listeners: got  %+v\nwant %+v", d.Listeners, wantListeners)
	}
	if !reflect.DeepEqual(d.Routes, wantRoutes) {
		t.Errorf("routes: got  %+v\nwant %+v", d.Routes, wantRoutes)
	}
	if !reflect.DeepEqual(d.Services, wantServices) {
		t.Errorf("services: got  %+v\nwant %+v", d.Services, wantServices)
	}
	if ps := d.Warnings(); len(ps) > 0 {
		t.Errorf("warnings %v", ps)
	}
}

func TestWarningsOnRules(t *testing.T) {
	d := parse(t, `
listeners:
  a: { address: ":80", trusted_proxies: [10.0.0.0/8, "::/0"] }
  b: { address: ":81", protocol: tcp, service: b }
services:
  b: { servers: [b:1], max_body: 1MiB, sticky: { cookie: x } }
`)
	wantLines(t, d.Warnings(),
		`site.yaml:3:54: listeners.a.trusted_proxies[1]: believes everybody: any client can say that it has another address`,
		`site.yaml:6:34: services.b.max_body: has no effect: only tcp listeners lead to this service, and they do not look into what they pass on`)
}

// inRoute is a document with a route that has rules and leads to a service; the first character of rules is at 2:27.
func inRoute(rules string) string {
	return "routes:\n  - { service: a, path: /p, " + rules + " }\nservices: { a: { servers: [a:1] } }\n"
}

// TestBadRules goes on with TestBadInput, for the rules of listeners, routes and services.
func TestBadRules(t *testing.T) {
	const placeholders = `there are {client}, {host}, {path}, {id} and {listener}; write {{ for a brace`
	const make = `; make one with: htpasswd -nbB USER PASSWORD`
	for _, c := range []struct {
		text string
		want []string
	}{
		// Words and types.
		{inRoute("strip_prefx: true"), []string{`site.yaml:2:29: routes[0].strip_prefx: unknown key; did you mean "strip_prefix"?`}},
		{inRoute("compress: [gzip, deflate]"), []string{`site.yaml:2:46: routes[0].compress[1]: expected zstd, br or gzip, found "deflate"`}},
		{inRoute("compress: [gzp]"), []string{`site.yaml:2:40: routes[0].compress[0]: expected zstd, br or gzip, found "gzp"; did you mean "gzip"?`}},
		{inRoute("compress: [br, br]"), []string{`site.yaml:2:44: routes[0].compress[1]: br is listed twice`}},
		{inRoute("compress: gzip"), []string{`site.yaml:2:39: routes[0].compress: expected a list, found "gzip"`}},
		{inRoute("forwarded: x-forwarded"), []string{`site.yaml:2:40: routes[0].forwarded: expected x_forwarded, forwarded or both, found "x-forwarded"; did you mean "x_forwarded"?`}},
		{inRoute("max_body: 10m"), []string{`site.yaml:2:39: routes[0].max_body: expected a size such as 10MiB, found "10m"; did you mean 10MiB?`}},
		{inRoute("max_body: 10 KB"), []string{`site.yaml:2:39: routes[0].max_body: expected a size such as 10MiB, found "10 KB"; did you mean 10kB?`}},
		{inRoute("max_body: -1"), []string{`site.yaml:2:39: routes[0].max_body: expected a size such as 10MiB, found "-1"`}},
		{inRoute("max_body: 9999999999GiB"), []string{`site.yaml:2:39: routes[0].max_body: size "9999999999GiB" is too large`}},
		{inRoute("max_body: [1]"), []string{`site.yaml:2:39: routes[0].max_body: expected a size such as 10MiB, found a list`}},
		{inRoute("max_body:"), []string{`site.yaml:2:37: routes[0].max_body: has no value; remove the key`}},
		{inRoute("timeouts: { connect: 5 }"), []string{`site.yaml:2:50: routes[0].timeouts.connect: expected a duration such as 2s or 500ms, found the number 5; did you mean 5s?`}},
		{inRoute("timeouts: { total: 5us }"), []string{`site.yaml:2:48: routes[0].timeouts.total: 5µs is below 1ms: give it a unit, as in 5s`}},
		{inRoute("timeouts: { firstbyte: 5s }"), []string{`site.yaml:2:41: routes[0].timeouts.firstbyte: unknown key; did you mean "first_byte"?`}},

		// Rates.
		{inRoute("rate_limits: [{ rate: 100 }, 100, { burst: 1 }]"), []string{
			`site.yaml:2:51: routes[0].rate_limits[0].rate: rate "100" has no unit: did you mean 100/s, 100/m or 100/h?`,
			`site.yaml:2:58: routes[0].rate_limits[1]: expected a rate, or a mapping with it; found the number 100`,
			`site.yaml:2:63: routes[0].rate_limits[2].rate: is missing`}},
		{inRoute("rate_limits: [0/s, { rate: 1/d, burst: 0, by: clinet }]"), []string{
			`site.yaml:2:43: routes[0].rate_limits[0].rate: rate "0/s" lets nothing through: give at least 1/h, or keep clients out with deny`,
			`site.yaml:2:56: routes[0].rate_limits[1].rate: rate "1/d" has an unknown unit: use /s, /m or /h`,
			`site.yaml:2:68: routes[0].rate_limits[1].burst: must be at least 1, found 0`,
			`site.yaml:2:75: routes[0].rate_limits[1].by: requests are not counted by "clinet": use client, route or header:NAME`}},

		// Networks.
		{inRoute("allow: [10.0.0.1/8, 10.0.0.0/33]"), []string{
			`site.yaml:2:37: routes[0].allow[0]: "10.0.0.1/8" has bits beyond its /8: did you mean the network 10.0.0.0/8, or the address 10.0.0.1?`,
			`site.yaml:2:49: routes[0].allow[1]: "10.0.0.0/33" is no network: the number after the / is from 0 to 32`}},
		{inRoute("allow: []"), []string{`site.yaml:2:36: routes[0].allow: an empty list lets nobody in: name networks, or remove the key`}},
		{inRoute("deny: [office, 10.0.0.0/255.0.0.0]"), []string{
			`site.yaml:2:36: routes[0].deny[0]: "office" is no network and no address: write it as 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3`,
			`site.yaml:2:44: routes[0].deny[1]: "10.0.0.0/255.0.0.0" has a netmask: did you mean 10.0.0.0/8?`}},
		{inRoute("deny: ['fe80::1%eth0', '::ffff:10.0.0.0/104', 'x/8']"), []string{
			`site.yaml:2:36: routes[0].deny[0]: "fe80::1%eth0" has a zone: leave it out`,
			`site.yaml:2:52: routes[0].deny[1]: "::ffff:10.0.0.0/104" is an IPv4 network written as IPv6: write it as IPv4`,
			`site.yaml:2:75: routes[0].deny[2]: "x/8" is no network: "x" is no address`}},

		// Paths.
		{inRoute("strip_prefix: true, rewrite: /x"), []string{`site.yaml:2:58: routes[0].rewrite: rewrite replaces the path that strip_prefix cuts off: give one of them`}},
		{inRoute("rewrite: x"), []string{`site.yaml:2:38: routes[0].rewrite: "x" does not start with /`}},
		{inRoute("rewrite: //x"), []string{`site.yaml:2:38: routes[0].rewrite: "//x" starts with //, which servers take for a host name`}},
		{inRoute("rewrite: '/x?y'"), []string{`site.yaml:2:38: routes[0].rewrite: "/x?y" holds ? or #: a rewrite is a path, and the request's query is kept`}},
		{inRoute("rewrite: '/a b'"), []string{`site.yaml:2:38: routes[0].rewrite: "/a b" holds what has to be percent-encoded in a path`}},
		{inRoute("rewrite: /50%"), []string{`site.yaml:2:38: routes[0].rewrite: "/50%" holds a % that begins no percent-encoding: write %25`}},
		{inRoute("rewrite: /a/%2e./b"), []string{`site.yaml:2:38: routes[0].rewrite: "/a/%2e./b" holds dot segments`}},
		{"routes: [{ service: a, strip_prefix: true }]\nservices: { a: { servers: [a:1] } }\n", []string{
			`site.yaml:1:38: routes[0].strip_prefix: there is nothing to cut off: the route has no path`}},

		// Passwords.
		{inRoute("basic_auth: { users: { alice: secret } }"), []string{
			`site.yaml:2:59: routes[0].basic_auth.users.alice: is no bcrypt hash; a password does not stand in the document` + make}},
		{inRoute("basic_auth: { users: { a.b@c.d: $apr1$x$y } }"), []string{
			`site.yaml:2:61: routes[0].basic_auth.users.a.b@c.d: is a hash of another kind ($apr1$) than bcrypt` + make}},
		{inRoute("basic_auth: { users: { alice: " + hash[:59] + " } }"), []string{
			`site.yaml:2:59: routes[0].basic_auth.users.alice: is no whole bcrypt hash: it has 60 characters, as in $2y$10$…` + make}},
		{inRoute("basic_auth: { users: { alice: $2y$20" + hash[6:] + " } }"), []string{
			`site.yaml:2:59: routes[0].basic_auth.users.alice: has the cost 20: every password would take seconds; use 10 to 14`}},
		{inRoute("basic_auth: { users: { 'a:b': " + hash + " } }"), []string{
			`site.yaml:2:59: routes[0].basic_auth.users.a:b: a user name is not empty and has no colon (RFC 7617)`}},
		{inRoute("basic_auth: { users: {} }"), []string{`site.yaml:2:50: routes[0].basic_auth.users: needs at least one entry`}},
		{inRoute("basic_auth: { realm: x }"), []string{`site.yaml:2:29: routes[0].basic_auth.users: is missing`}},
		{inRoute("basic_auth: { realm: 'a  ', users: { a: " + hash + " } }"), []string{
			`site.yaml:2:50: routes[0].basic_auth.realm: the value begins or ends with white space, which no recipient sees`}},

		// Fields.
		{inRoute("request_headers: { set: { X-A: '{clinet}' } }"), []string{
			`site.yaml:2:60: routes[0].request_headers.set.X-A: unknown placeholder {clinet}: ` + placeholders}},
		{inRoute("request_headers: { add: { X-A: 'a{' } }"), []string{`site.yaml:2:60: routes[0].request_headers.add.X-A: a { is never closed; write {{ for a brace`}},
		{inRoute("request_headers: { set: { Content-Length: '1', Connection: close, X-Forwarded-For: x, Expect: x } }"), []string{
			`site.yaml:2:71: routes[0].request_headers.set.Content-Length: "Content-Length" frames the message: tripod writes it as the content is`,
			`site.yaml:2:88: routes[0].request_headers.set.Connection: "Connection" is about one connection: tripod writes its own`,
			`site.yaml:2:112: routes[0].request_headers.set.X-Forwarded-For: "X-Forwarded-For" is set by tripod alone, so that servers can believe it`,
			`site.yaml:2:123: routes[0].request_headers.set.Expect: "Expect" is about one connection: tripod answers it itself`}},
		{inRoute("request_headers: { add: { Host: x }, remove: [hOst] }"), []string{
			`site.yaml:2:61: routes[0].request_headers.add.Host: a request has one Host: use set to replace it`,
			`site.yaml:2:75: routes[0].request_headers.remove[0]: every request has a Host: use set to replace it`}},
		{inRoute("request_headers: { set: { Host: 'http://a' } }"), []string{
			`site.yaml:2:61: routes[0].request_headers.set.Host: is no host name: give a name or an address, with or without a port`}},
		{inRoute("request_headers: { set: { Host: 'a{path}' } }"), []string{
			`site.yaml:2:61: routes[0].request_headers.set.Host: a host may be put together with {host} and {listener} only`}},
		{inRoute("request_headers: { set: { X-A: b, x-a: c }, remove: [X-a, X-B, x-b] }"), []string{
			`site.yaml:2:68: routes[0].request_headers.set.x-a: x-a is X-A, which is there already: names have no case, and servers take _ for -`,
			`site.yaml:2:82: routes[0].request_headers.remove[0]: X-a is set too, which replaces what is there: leave it out here`,
			`site.yaml:2:92: routes[0].request_headers.remove[2]: x-b is listed twice`}},
		{inRoute("request_headers: { set: { 'X A': b, X-B: '', X-C: \"a\\r\\nb\", X-D: ' b', X-E: é } }"), []string{
			`site.yaml:2:62: routes[0].request_headers.set.X A: "X A" is no name of a field: use letters, digits and hyphens`,
			`site.yaml:2:70: routes[0].request_headers.set.X-B: the value is empty: use remove to take a field away`,
			`site.yaml:2:79: routes[0].request_headers.set.X-C: the value holds a line end or a control character`,
			`site.yaml:2:94: routes[0].request_headers.set.X-D: the value begins or ends with white space, which no recipient sees`,
			`site.yaml:2:105: routes[0].request_headers.set.X-E: the value holds characters beyond ASCII, which recipients read differently`}},
		{inRoute("request_headers: { set: { X-A: 5 } }"), []string{`site.yaml:2:60: routes[0].request_headers.set.X-A: expected text, found the number 5; put it in quotes`}},
		{inRoute("response_headers: { set: { Host: x, Content-Encoding: br }, remove: [x_request_id] }"), []string{
			`site.yaml:2:62: routes[0].response_headers.set.Host: "Host" is a field of requests`,
			`site.yaml:2:83: routes[0].response_headers.set.Content-Encoding: "Content-Encoding" says how the content is to be read: it comes with the content`,
			`site.yaml:2:98: routes[0].response_headers.remove[0]: "x_request_id" is set by tripod alone, so that servers can believe it`}},

		// Pages and answers.
		{inRoute("error_pages: { 200: x, 5XX: y, 600: z }"), []string{
			`site.yaml:2:49: routes[0].error_pages.200: "200" is no status of an error: use 400 to 599, 4xx or 5xx`,
			`site.yaml:2:57: routes[0].error_pages.5XX: "5XX" is no status of an error: use 400 to 599, 4xx or 5xx`,
			`site.yaml:2:65: routes[0].error_pages.600: "600" is no status of an error: use 400 to 599, 4xx or 5xx`}},
		{inRoute("respond: { body: x }"), []string{`site.yaml:2:38: routes[0].respond: the route has both service and respond: give it one of them`}},
		{inRoute("redirect: 'http://x'"), []string{`site.yaml:2:39: routes[0].redirect: the route has both service and redirect: give it one of them`}},
		{inRoute("status: 301"), []string{`site.yaml:2:37: routes[0].status: is the status of a redirect, and the route has none`}},
		{"routes: [{ redirect: 'http://x', status: 200 }]\n", []string{`site.yaml:1:42: routes[0].status: status 200 is no redirect: use 301, 302, 303, 307 or 308`}},
		{"routes: [{ respond: { status: 204, body: x }, status: 301 }]\n", []string{
			`site.yaml:1:42: routes[0].respond.body: an answer with status 204 has no content`,
			`site.yaml:1:55: routes[0].status: the status of a fixed answer stands in respond`}},
		{"routes: [{ respond: { status: 100, content_type: html, headers: { Content-Type: x, Date: '{date}' } } }]\n", []string{
			`site.yaml:1:31: routes[0].respond.status: status 100 is not between 200 and 599`,
			`site.yaml:1:50: routes[0].respond.content_type: "html" is no media type: write it as text/plain`,
			`site.yaml:1:81: routes[0].respond.headers.Content-Type: its type stands in content_type`,
			`site.yaml:1:90: routes[0].respond.headers.Date: unknown placeholder {date}: ` + placeholders}},
		{"routes: [{ redirect: 'http://x', path: /p, strip_prefix: true, compress: [br], max_body: 1 }]\n", []string{
			`site.yaml:1:58: routes[0].strip_prefix: strip_prefix needs a service: the route leads to a redirect`,
			`site.yaml:1:74: routes[0].compress: compress needs a service: the route leads to a redirect`,
			`site.yaml:1:90: routes[0].max_body: max_body needs a service: the route leads to a redirect`}},
		{"routes: [{ respond: {}, path: /p, rewrite: /x, forwarded: both, request_headers: {}, timeouts: {} }]\n", []string{
			`site.yaml:1:44: routes[0].rewrite: rewrite needs a service: the route leads to a fixed answer`,
			`site.yaml:1:59: routes[0].forwarded: forwarded needs a service: the route leads to a fixed answer`,
			`site.yaml:1:82: routes[0].request_headers: request_headers needs a service: the route leads to a fixed answer`,
			`site.yaml:1:96: routes[0].timeouts: timeouts needs a service: the route leads to a fixed answer`}},

		// Services.
		{"services:\n  a: { servers: [a:1], protocol: grpc }\n", []string{`site.yaml:2:34: services.a.protocol: expected http, h2 or h2c, found "grpc"`}},
		{"services:\n  a: { servers: [a:1], max_body: 1k, error_pages: { 3xx: x } }\n", []string{
			`site.yaml:2:34: services.a.max_body: expected a size such as 10MiB, found "1k"; did you mean 1KiB?`,
			`site.yaml:2:58: services.a.error_pages.3xx: "3xx" is no status of an error: use 400 to 599, 4xx or 5xx`}},
		{"services:\n  a: { servers: [a:1], strip_prefix: true }\n", []string{`site.yaml:2:24: services.a.strip_prefix: unknown key; valid are …`}},

		// Listeners.
		{"listeners: { a: { address: ':443', tls: true, h2c: true } }\n", []string{
			`site.yaml:1:52: listeners.a.h2c: h2c is HTTP/2 without TLS: with tls clients have HTTP/2 anyway`}},
		{"listeners: { a: { address: ':80', proxy_protocol: [10.0.0.300], trusted_proxies: [] } }\n", []string{
			`site.yaml:1:52: listeners.a.proxy_protocol[0]: "10.0.0.300" is no network and no address: …`,
			`site.yaml:1:82: listeners.a.trusted_proxies: is empty: name networks, or remove the key`}},
		{"listeners: { a: { address: ':1', protocol: tcp, service: a, h2c: true, proxy_protocol: [10.0.0.1], trusted_proxies: [10.0.0.1] } }\nservices: { a: { servers: [a:1] } }\n", []string{
			`site.yaml:1:66: listeners.a.h2c: a tcp listener passes on what comes, HTTP/2 with it`,
			`site.yaml:1:88: listeners.a.proxy_protocol: a tcp listener passes on what comes, PROXY headers with it`,
			`site.yaml:1:117: listeners.a.trusted_proxies: a tcp listener sees no X-Forwarded-For`}},
	} {
		wantProblems(t, c.text, c.want)
	}
}
