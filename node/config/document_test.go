package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tripod/election"
	"tripod/proxy"
	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
	"tripod/tls"
)

// example is the document of the design, with the two services that it leaves out.
const example = `vips:
  - address: 10.0.0.100/24          # IPv4 or IPv6
    interface: eth0                 # default: the one whose network holds the address
listeners:
  http:  { address: ":80",  redirect_https: true }
  https: { address: ":443", tls: true }
  pg:    { address: ":5432", protocol: tcp, service: postgres }
routes:                             # most specific host, then longest path, wins
  - { host: shop.example.com, path: /api/, service: api }
  - { host: shop.example.com, service: web }
  - { host: old.example.com, redirect: "https://shop.example.com" }
services:
  web:
    balance: least_requests
    sticky: { cookie: srv }
    servers:
      - 10.0.1.1:8080
      - { address: 10.0.1.2:8080, weight: 2, zone: b, max_connections: 200 }
      - { address: 10.0.1.9:8080, backup: true }
    health: { path: /healthz, interval: 2s, timeout: 1s, rise: 2, fall: 3 }
  api:      { servers: [10.0.2.1:8080] }
  postgres: { servers: [10.0.3.1:5432] }
certificates:
  email: ops@example.com
`

func parse(t testing.TB, text string) *Document {
	t.Helper()
	d, err := Parse("site.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%s\nof\n%s", err, text)
	}
	return d
}

func TestExampleIsWhatTheDesignSays(t *testing.T) {
	d := parse(t, example)
	two := 2
	want := Document{
		VIPs: []election.VIPConfig{{Address: "10.0.0.100/24", Interface: "eth0"}},
		Listeners: map[string]proxy.ListenerConfig{
			"http":  {Address: ":80", Protocol: proxy.HTTP, RedirectHTTPS: true},
			"https": {Address: ":443", Protocol: proxy.HTTP, TLS: true},
			"pg":    {Address: ":5432", Protocol: proxy.TCP, Service: "postgres"},
		},
		Routes: []proxy.RouteConfig{
			{Host: "shop.example.com", Path: "/api/", Service: "api"},
			{Host: "shop.example.com", Path: "/", Service: "web"},
			{Host: "old.example.com", Path: "/", Redirect: "https://shop.example.com"},
		},
		Services: map[string]upstream.Config{
			"web": {
				Balance:  upstream.LeastRequests,
				AllDown:  upstream.FailFast,
				Protocol: upstream.HTTP,
				Sticky:   &upstream.StickyConfig{Cookie: "srv", SameSite: "lax"},
				Servers: []upstream.ServerConfig{
					{Address: "10.0.1.1:8080"},
					{Address: "10.0.1.2:8080", Weight: &two, Zone: "b", MaxConnections: 200},
					{Address: "10.0.1.9:8080", Backup: true},
				},
				Health: &health.Config{Type: health.HTTP, Method: "GET", Initial: health.Down, Path: "/healthz", Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3},
			},
			"api":      {Balance: upstream.RoundRobin, AllDown: upstream.FailFast, Protocol: upstream.HTTP, Servers: []upstream.ServerConfig{{Address: "10.0.2.1:8080"}}},
			"postgres": {Balance: upstream.RoundRobin, AllDown: upstream.FailFast, Protocol: upstream.HTTP, Servers: []upstream.ServerConfig{{Address: "10.0.3.1:5432"}}},
		},
		Certificates: tls.CertificatesConfig{Email: "ops@example.com"},
		AccessLog:    "on", LogSample: 1,
	}
	got := *d
	got.vips, got.warnings = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	wantLines(t, d.Warnings(),
		`site.yaml:18:52: services.web.servers[1].zone: has no effect yet: servers are chosen without regard to zones`,
		`site.yaml:24:10: certificates.email: has no effect yet: the cluster's own certificate authority asks for none`)
	if got, want := d.Addresses(), []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	if got, want := d.TLSHosts(), []string{"old.example.com", "shop.example.com"}; !slices.Equal(got, want) {
		t.Errorf("tls hosts %v, want %v", got, want)
	}
	p := d.Proxy()
	if p.AccessLog != 1 || !slices.Equal(p.VIPs, []netip.Addr{netip.MustParseAddr("10.0.0.100")}) ||
		len(p.Listeners) != 3 || len(p.Routes) != 3 || len(p.Services) != 3 {
		t.Errorf("proxy config %+v", p)
	}
}

// TestOtherWaysToWrite has documents that mean the same.
func TestOtherWaysToWrite(t *testing.T) {
	want := parse(t, `
services:
  web: {servers: [a.test:1, b.test:2], health: {interval: 5s, path: /h}}
  api: {servers: [a.test:1, b.test:2], health: {interval: 5s, path: /h}, balance: least_requests}
routes: [{host: a.test, service: web}, {host: "*.b.test", service: api}]
`)
	for name, text := range map[string]string{
		"block": `---
# a comment
services:
  web: &web
    servers:
    - a.test:1          # at the column of its key
    - address: "b.test:2"
    health:
      interval: '5s'
      path:
        /h
  "api":
    <<: *web
    balance: least_requests
routes:
  - host: A.test.
    service: web
  -
    host: "*.b.test"
    service: api
...
`,
		"json": `{"services":{"web":{"servers":["a.test:1","b.test:2"],"health":{"interval":"5s","path":"/h"}},
 "api":{"servers":["a.test:1","b.test:2"],"health":{"interval":"5s","path":"/h"},"balance":"least_requests"}},
 "routes":[{"host":"a.test","service":"web"},{"host":"*.b.test","service":"api"}]}`,
		"aliases": `
services:
  web: {servers: &s [a.test:1, b.test:2], health: &h {interval: 5000ms, path: /h}}
  api: {servers: *s, health: *h, balance: least_requests,}
routes: [{host: a.test, service: web,}, {host: "*.b.test", service: api}]
vips:
listeners: ~
`,
		"crlf": strings.ReplaceAll(`services:
  web: {servers: [a.test:1, b.test:2], health: {interval: 5s, path: /h}}
  api:
    balance: least_requests
    servers: [a.test:1,
      b.test:2]
    health: {interval: 5s, path: /h}
routes: [{host: a.test, service: web}, {host: "*.b.test", service: api}]
`, "\n", "\r\n"),
		"byte order mark": "\ufeff" + `services: {web: {servers: [a.test:1, {address: b.test:2}], health: {interval: 5s, path: /h}}, api: {servers: [a.test:1, b.test:2], health: {interval: 5s, path: /h}, balance: least_requests}}
routes: [{host: a.test, service: web}, {host: "*.b.test", service: api}]`,
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, text)
			got.warnings, want.warnings = nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestTextOfManyLines has the ways in which YAML goes on over the end of a line.
func TestTextOfManyLines(t *testing.T) {
	for text, want := range map[string]string{
		"certificates:\n  email: |\n    a: # b\n     'c'\n\n    d\n\n":       "a: # b\n 'c'\n\nd\n",
		"certificates:\n  email: |-\n    a\n    b\n# c\n":                    "a\nb",
		"certificates:\n  email: >\n    a\n    b\n\n    c\naccess_log: on\n": "a b\nc\n",
		"certificates:\n  email: >2- # d\n     a\n":                          " a",
		"certificates:\n  email: a\n    b\n\n    c # d\n":                    "a b\nc",
		"certificates:\n  email:\n    a#\n    b:c\n":                         "a# b:c",
		"certificates: {email: \"a\n  b\\\n  \\ c\\n\\u00e9\"}\n":            "a b c\né",
		"certificates: {email: 'a\r\n\r\n  it''s'}\r\n":                      "a\nit's",
		"certificates:\n  ? email\n  : &a a\naccess_log: &a on\n":            "a",
	} {
		if d, err := Parse("site.yaml", []byte(text)); err != nil || d.Certificates.Email != want {
			t.Errorf("%q: got %+v, %v, want %q", text, d, err, want)
		}
	}
}

func TestEmptyDocumentsServeNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "---\n...\n", "~", "{}", "vips: []\nroutes:\n"} {
		d := parse(t, text)
		p := d.Proxy()
		if len(p.Listeners)+len(p.Routes)+len(p.Services)+len(p.VIPs)+len(d.Addresses())+len(d.TLSHosts())+len(d.Warnings()) > 0 || p.AccessLog == 0 {
			t.Errorf("%q: %+v", text, d)
		}
	}
}

func TestAccessLogIsOffWithOneWord(t *testing.T) {
	if parse(t, "access_log: off\n").Proxy().AccessLog != 0 {
		t.Error("access log is on")
	}
}

// TestScalarsAreWhatTheyLookLike is the core schema of YAML 1.2: the library knows more booleans, numbers and dates.
func TestScalarsAreWhatTheyLookLike(t *testing.T) {
	for text, want := range map[string]scalarKind{
		"": nullScalar, "~": nullScalar, "null": nullScalar, "''": textScalar, "'null'": textScalar, "|\n  null": textScalar,
		"true": boolScalar, "False": boolScalar, "yes": textScalar, "off": textScalar, "y": textScalar, `"true"`: textScalar, ">\n  true": textScalar,
		"0": numberScalar, "-1": numberScalar, "+12": numberScalar, "0o17": numberScalar, "0x1F": numberScalar, "017": numberScalar, "1e3": numberScalar,
		".5": numberScalar, "-.inf": numberScalar, ".nan": numberScalar, "1_000": textScalar, "0b11": textScalar, "1:30": textScalar, "0x": textScalar,
		"2001-01-01": textScalar, "1.2.3": textScalar, "'1'": textScalar, "=": textScalar, "<<": textScalar,
	} {
		root, _, message := read([]byte("a: " + text + "\n"))
		if message != "" || root.root.entries[0].value.scalar != want {
			t.Errorf("%q: got %+v, %s; want %d", text, root, message, want)
		}
	}
}

func TestHostsAreNormalised(t *testing.T) {
	d := parse(t, `
listeners: {https: {address: ":443", tls: true}}
routes:
  - {host: Bücher.Example., redirect: "https://x.test"}
  - {host: "*.BÜCHER.example", redirect: "https://x.test"}
  - {host: "*.BÜCHER.example", path: /y, redirect: "https://x.test"}
  - {path: /z, redirect: "https://x.test"}
`)
	if got, want := d.TLSHosts(), []string{"*.xn--bcher-kva.example", "xn--bcher-kva.example"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"vips: [10.0.0.1, 127.0.0.9, 10.0.0.2/32, 10.0.0.3/24, 'fd00::1']", []string{
			`site.yaml:1:8: vips[0].address: has no prefix length and counts as a single host: 10.0.0.1/32`,
			`site.yaml:1:55: vips[4].address: has no prefix length and counts as a single host: fd00::1/128`,
		}},
		{"services:\n  web: {servers: [{address: a:1, zone: x}, {address: b:1, zone: y}, c:1]}\n", []string{
			`site.yaml:2:3: services.web: is not used by any route or listener`,
			`site.yaml:2:40: services.web.servers[0].zone: has no effect yet: servers are chosen without regard to zones (so are 1 more)`,
		}},
		{"listeners: {https: {address: ':443', tls: true}}\nroutes: [{redirect: 'https://x.test'}]\n", []string{
			`site.yaml:1:43: listeners.https.tls: no route has a host, so there is no name to make a certificate for`,
		}},
		{"routes: [{redirect: 'https://x.test'}]\n", []string{
			`site.yaml:1:10: routes: have no effect: there is no http listener`,
		}},
	} {
		wantLines(t, parse(t, c.text).Warnings(), c.want...)
	}
}

func wantLines(t *testing.T, got []Problem, want ...string) {
	t.Helper()
	var lines []string
	for _, p := range got {
		lines = append(lines, p.String())
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(lines, "\n  "), strings.Join(want, "\n  "))
	}
}

// large is a document of flow-style routes and servers: 600 KB for 5,000 of each.
func large(routes int) string {
	var b strings.Builder
	b.WriteString("listeners:\n  https: {address: \":443\", tls: true}\nroutes:\n")
	for i := range routes {
		fmt.Fprintf(&b, "  - { host: host-%d.shop.example.com, path: /api/v1/, service: service-%d }\n", i, i/10)
	}
	b.WriteString("services:\n")
	for i := range routes / 10 {
		fmt.Fprintf(&b, "  service-%d:\n    health: {path: /healthz, interval: 2s}\n    servers:\n", i)
		for j := range 10 {
			fmt.Fprintf(&b, "      - { address: 10.%d.%d.%d:8080, weight: 2 }\n", i/250, i%250, j)
		}
	}
	return b.String()
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"10 routes":      large(10),
		"5000 routes":    large(5000),
		"20000 services": wide(20000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				parse(b, text)
			}
		})
	}
}

func wide(services int) string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&b, "  s%d: # a comment\n    servers: [10.0.0.1:%d]\n", i, 1+i)
	}
	return b.String()
}

// TestParseTimeIsBounded has large texts that are made to be slow: each took minutes with one reader or another. A quarter of a
// second is usual; a loaded machine with the race detector takes many times that.
func TestParseTimeIsBounded(t *testing.T) {
	texts := map[string]string{
		"keys":       "a:\n",
		"unknown":    "services:\n",
		"comments":   "# x\n",
		"commented":  "b: c # d\n",
		"words":      "aaa ",
		"lines":      "b\n  ",
		"quotes":     "''",
		"dashes":     "- ",
		"list":       "- a\n",
		"open":       "[",
		"braces":     "{a: ",
		"questions":  "? ",
		"anchors":    "&a ",
		"tags":       "!a ",
		"reserved":   "@ ",
		"colons":     ":",
		"flow words": "a,",
		"newlines":   "\n",
		"tabs":       " \t",
		"documents":  "---\n",
		"carriage":   "\r",
		"backquotes": "` \n",
		"percent":    "%a\n",
		"vips":       "vips: [x]\n",
		"wide":       "é,",
		"aliases":    "*a ",
		"anchored":   "&a x, ",
		"empties":    "{a: }, ",
		"pairs":      "? \n",
		"below":      "- &a # x\n  b:\n",
		"remarks":    "  # x\n",
		"braced":     "a: {b: c},\n",
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		for _, start := range []string{"", "vips: [", "services: {", "a: \"", "a: '", "a: |\n  ", "services:\n  "} {
			text := start + strings.Repeat(texts[name], MaxSize/32/len(texts[name]))
			began := time.Now()
			_, err := Parse("f", []byte(text))
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%q and %s: took %s (%.100v)", start, name, took, err)
			}
		}
	}
}
