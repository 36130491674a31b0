package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// problems parses a document that must be refused.
func problems(t *testing.T, text string) Problems {
	t.Helper()
	d, err := Parse("site.yaml", []byte(text))
	var ps Problems
	if !errors.As(err, &ps) || len(ps) == 0 || d != nil {
		t.Fatalf("%q: got %v, %v; want no document and problems", text, d, err)
	}
	return ps
}

// TestBadInput has one line for each way to be wrong. A line that ends in … may go on: the words are those of the part that
// owns the value.
func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		// The text.
		{"invalid UTF-8", "vips: []\n# caf\xe9\n", []string{`site.yaml:2:6: byte 0xe9 is not valid UTF-8; save the file as UTF-8`}},
		{"control character", "vips: \x00\n", []string{`site.yaml:1:7: control character 0x00 is not allowed in a document`}},
		{"tab", "vips:\n\t- 10.0.0.1\n", []string{`site.yaml:2:1: line is indented with a tab; YAML wants spaces`}},
		{"tab after spaces", "vips:\n  \t- 10.0.0.1\n", []string{`site.yaml:2:3: line is indented with a tab; YAML wants spaces`}},
		{"too large", strings.Repeat("# 34567\n", MaxSize/8+1), []string{`site.yaml: document is 2.1 MiB; the limit is 2 MiB`}},
		{"two documents", "vips: []\n---\nroutes: []\n", []string{`site.yaml:2:1: a second YAML document starts here; a file holds just one`}},
		{"text after the end", "vips: []\n...\nroutes: []\n", []string{`site.yaml:3:1: a second YAML document starts here; a file holds just one`}},
		{"too deep", "vips: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), []string{`site.yaml:1:38: nested deeper than 32 levels`}},
		{"too deep in blocks", strings.Repeat("- ", 40), []string{`site.yaml:1:65: nested deeper than 32 levels`}},
		{"directive", "%YAML 1.2\n---\n", []string{`site.yaml:1:1: directives such as %YAML are not supported; remove the line`}},
		{"tag", "vips: !!seq []\n", []string{`site.yaml:1:7: tags such as !!str are not supported; remove it, or put text that starts with ! in quotes`}},
		{"tag after an anchor", "vips: &a !binary x\n", []string{`site.yaml:1:10: tags such as !!str are not supported; remove it, or put text that starts with ! in quotes`}},
		{"tag without a name", "vips: [! x]\n", []string{`site.yaml:1:8: tags such as !!str are not supported; remove it, or put text that starts with ! in quotes`}},
		{"tag of a key", "!!str vips: []\n", []string{`site.yaml:1:1: tags such as !!str are not supported; remove it, or put text that starts with ! in quotes`}},
		{"tag that is none", "access_log: on\nvips: !x!y []\n", []string{`site.yaml:2:7: tags such as !!str are not supported; remove it, or put text that starts with ! in quotes`}},
		{"mapping for a key", "? {a: b}\n: []\n", []string{`site.yaml:1:3: a mapping or list cannot be a key`}},
		{"alias for a key", "vips: &a x\n*a : []\n", []string{`site.yaml:2:1: an alias cannot be a key; put text that starts with "*" in quotes`}},
		{"no key", "vips: []\n: x\n", []string{`site.yaml:2:1: unexpected ":"; a key is missing before it`}},
		{"no key in braces", "vips: [{: x}]\n", []string{`site.yaml:1:9: unexpected ":"; a key is missing before it`}},
		{"carriage return", "vips: []\r# x\n", []string{`site.yaml:1:9: carriage return within a line; save the file with line ends of Unix or Windows`}},
		{"line separator", "# é\u2028vips: []\n", []string{`site.yaml:1:4: character U+2028 is not allowed in a document`}},

		// Syntax.
		{"unclosed brace", "listeners: { http: { address: \":80\" }\nroutes: []\n", []string{`site.yaml:1:12: "{" is never closed`}},
		{"unclosed bracket at the end", "vips: [10.0.0.1,\n", []string{`site.yaml:1:7: "[" is never closed`}},
		{"closed twice", "vips: []]\n", []string{`site.yaml:1:9: "]" closes nothing`}},
		{"wrong bracket", "vips: [10.0.0.1}\n", []string{`site.yaml:1:16: expected "," or "]", found "}"`}},
		{"missing comma", "routes: [{service: a} {service: b}]\n", []string{`site.yaml:1:23: expected "," or "]", found "{"`}},
		{"double comma", "vips: [10.0.0.1,,10.0.0.2]\n", []string{`site.yaml:1:17: unexpected ","`}},
		{"key without value", "routes: [{service}]\n", []string{`site.yaml:1:11: routes[0].service: expected text, found nothing`}},
		{"key without space", "routes: [{service:web}]\n", []string{`site.yaml:1:11: routes[0].service:web: a space is missing after the colon`}},
		{"unclosed quote", "certificates: {email: \"ops}\nvips: []\n", []string{`site.yaml:1:23: the quote " opened here is not closed`}},
		{"unclosed single quote", "certificates: {email: 'ops}\n", []string{`site.yaml:1:23: the quote ' opened here is not closed`}},
		{"apostrophe", "certificates: {email: 'it's'}\n", []string{`site.yaml:1:27: expected "," or "}", found "s'"`}},
		{"escape", `certificates: {email: "a\qb"}`, []string{`site.yaml:1:25: unknown escape in a text in double quotes; write \\ for a backslash`}},
		{"reserved", "access_log: @on\n", []string{`site.yaml:1:13: text cannot start with @; put it in quotes`}},
		{"two colons", "vips: a: b\n", []string{`site.yaml:1:8: unexpected ":"; put text that contains ": " in quotes, or the key on a line of its own`}},
		{"list beside key", "vips: - 10.0.0.1\n", []string{`site.yaml:1:7: a list cannot start on the line of its key; put it on the next line`}},
		{"deeper key", "access_log: on\n vips: []\n", []string{`site.yaml:2:2: the key "vips" does not line up with the keys before it; check the indentation`}},
		{"shallower key", "services:\n    web:\n      servers: [a:1]\n   api: {}\n", []string{`site.yaml:4:4: the key "api" does not line up with the keys before it; check the indentation`}},
		{"shallower item", "vips:\n  - 10.0.0.1\n - 10.0.0.2\n", []string{`site.yaml:3:2: unexpected list item ("- "); check the indentation`}},
		{"key after text on two lines", "certificates:\n  email: ops\n    of: x\n", []string{`site.yaml:3:5: the key "of" does not line up with the keys before it; check the indentation`}},
		{"no colon", "access_log: on\nvips\n", []string{`site.yaml:2:1: expected "key: value", found "vips"`}},
		{"columns are characters", "certificates: {email: \"überörtlich\" x}\n", []string{`site.yaml:1:37: expected "," or "}", found "x"`}},

		{"item that is too deep", "services:\n  web:\n    servers:\n      - a:1\n     - b:1\n", []string{`site.yaml:5:6: unexpected list item ("- "); check the indentation`}},
		{"item among keys", "access_log: on\n- vips\n", []string{`site.yaml:2:1: unexpected list item ("- "); check the indentation`}},
		{"key among items", "vips:\n  - 10.0.0.1\n  routes: []\n", []string{`site.yaml:3:3: the key "routes" does not line up with the keys before it; check the indentation`}},
		{"key after a value of the same depth", "services:\n  web:\n    servers: [a:1]\n     balance: x\n", []string{
			`site.yaml:4:6: the key "balance" does not line up with the keys before it; check the indentation`}},
		{"first key without space", "services:\n  web:\n    balance:x # y\n\n    servers: [a:1]\n", []string{`site.yaml:3:5: expected "key: value", found "balance:x"`}},
		{"later key without space", "vips: []\nroutes:[]\n", []string{`site.yaml:2:1: expected "key: value", found "routes:[]"`}},
		{"missing comma in JSON", "{\n\"vips\": []\n\"routes\": []\n}\n", []string{`site.yaml:3:1: expected "," or "}", found "\"routes\":"`}},
		{"unclosed brace of JSON", "{\n  \"vips\": []\n", []string{`site.yaml:1:1: "{" is never closed`}},
		{"closed too often in JSON", "{\n  \"vips\": []\n}}\n", []string{`site.yaml:3:2: "}" closes nothing`}},
		{"unclosed bracket before a key", "vips: [10.0.0.1, 10.0.0.2\nroutes: []\n", []string{`site.yaml:1:7: "[" is never closed`}},
		{"value after a value", "vips: 'é' [] # x\n", []string{`site.yaml:1:11: unexpected "[]" after the value`}},
		{"tab before a key", "access_log: on\n\tvips: []\n", []string{`site.yaml:2:1: line is indented with a tab; YAML wants spaces`}},
		{"tab after a dash", "vips:\n  -\t- x\n", []string{`site.yaml:2:4: line is indented with a tab; YAML wants spaces`}},
		{"hexadecimal escape", `certificates: {email: "é\u00g0"}`, []string{`site.yaml:1:25: unknown escape in a text in double quotes; write \\ for a backslash`}},
		{"comparison", "access_log: >=on\n", []string{`site.yaml:1:13: a block of text starts on the line after the >; put text that starts with it in quotes`}},
		{"unclosed quote at the end", "vips: []\naccess_log: 'on\n\n\n", []string{`site.yaml:2:13: the quote ' opened here is not closed`}},
		{"far too deep", strings.Repeat("[", 11000), []string{`site.yaml:1:10001: nested deeper than 32 levels`}},
		{"far too deep in blocks", strings.Repeat("- ", 11000), []string{`site.yaml:1:20001: nested deeper than 32 levels`}},

		// Anchors.
		{"no anchor", "vips: *all\n", []string{`site.yaml:1:7: no anchor &all before this alias; put text that starts with "*" in quotes`}},
		{"wildcard without quotes", "routes:\n  - { host: *.x.test, service: web }\n", []string{`site.yaml:2:13: text cannot start with *; put it in quotes`}},
		{"alias in itself", "services: &a {web: *a}\n", []string{`site.yaml:1:20: the alias *a stands within its own anchor`}},
		{"merge of a number", "services:\n  web: {<<: 5, servers: [a:1]}\n", []string{`site.yaml:2:13: services.web: a merge key (<<) takes a mapping or a list of mappings, found the number 5`}},
		{"alias of a later anchor", "vips: []\nroutes: [*a, &a {}]\n", []string{`site.yaml:2:10: no anchor &a before this alias; put text that starts with "*" in quotes`}},
		{"values after anchors", "access_log: &a é\nvips: &v # x\n\n  # é\n  - &i {address: &n\n    [x]}\nroutes: &r\n- &k host: &t # x\n    {}\n- &e\n  &f path: 'é'\n  nope: x\n", []string{
			`site.yaml:1:16: access_log: expected on or off, found "é"`,
			`site.yaml:6:5: vips[0].address: expected text, found a list`,
			`site.yaml:9:5: routes[0].host: expected text, found a mapping (key: value)`,
			`site.yaml:11:12: routes[1].path: …`,
			`site.yaml:12:3: routes[1].nope: …`}},
		{"name that is none", "access_log: on\nvips: [&é x]\n", []string{`site.yaml:2:8: text cannot start with &; put it in quotes`}},
		{"mistake behind an alias is one", "services:\n  a: {servers: [a:1], health: &h {rise: x}}\n  b: {servers: [a:1], health: *h}\n", []string{
			`site.yaml:2:41: services.a.health.rise: expected a number, found "x"`}},

		// Keys.
		{"not a mapping", "- vips\n", []string{`site.yaml:1:1: a document is a mapping with the keys vips, listeners, routes, services, dns, certificates, access_log, access_log_sample; found a list`}},
		{"unknown key", "listners: {}\n", []string{`site.yaml:1:1: listners: unknown key; did you mean "listeners"?`}},
		{"unknown key like none", "frontends: {}\n", []string{`site.yaml:1:1: frontends: unknown key; valid are vips, listeners, routes, services, dns, certificates, access_log, access_log_sample`}},
		{"unknown keys deep inside", "services:\n  web:\n    servers: [a:1]\n    health: { path: /, intervall: 5s }\n    stciky: { cookie: x }\n", []string{
			`site.yaml:4:24: services.web.health.intervall: unknown key; did you mean "interval"?`,
			`site.yaml:5:5: services.web.stciky: unknown key; did you mean "sticky"?`}},
		{"wrong key hides a required one", "services:\n  web: { server: [a:1] }\n", []string{
			`site.yaml:2:10: services.web.server: unknown key; did you mean "servers"?`}},
		{"duplicate key", "access_log: on\naccess_log: off\n", []string{`site.yaml:2:1: access_log: duplicate key; the first is on line 1`}},
		{"duplicate service", "services:\n  web: { servers: [a:1] }\n  web: { servers: [b:1] }\n", []string{
			`site.yaml:3:3: services.web: duplicate key; the first is on line 2`}},
		{"missing key", "listeners:\n  http: { tls: true }\n", []string{`site.yaml:2:3: listeners.http.address: is missing`}},
		{"missing key in a list", "services:\n  web:\n    servers:\n      - { weight: 2 }\n", []string{
			`site.yaml:4:9: services.web.servers[0].address: no address: use host:port`}},
		{"empty required text", "vips: [{ address: '' }]\n", []string{`site.yaml:1:19: vips[0].address: must not be empty`}},

		// Values.
		{"text for a number", "services:\n  web:\n    servers: [{ address: a:1, weight: many }]\n", []string{
			`site.yaml:3:39: services.web.servers[0].weight: expected a number, found "many"`}},
		{"quoted number", "services:\n  web:\n    servers: [{ address: a:1, weight: '2' }]\n", []string{
			`site.yaml:3:39: services.web.servers[0].weight: expected a number, found "2"; remove the quotes`}},
		{"fraction", "services:\n  web:\n    servers: [{ address: a:1, weight: 1.5 }]\n", []string{
			`site.yaml:3:39: services.web.servers[0].weight: expected a whole number, found 1.5`}},
		{"out of range", "services:\n  web:\n    servers: [{ address: a:1, weight: 300 }]\n", []string{
			`site.yaml:3:39: services.web.servers[0].weight: must be from 0 to 256, found 300`}},
		{"below the least", "services:\n  web:\n    servers: [{ address: a:1, max_connections: -1 }]\n", []string{
			`site.yaml:3:48: services.web.servers[0].max_connections: must be at least 0, found -1`}},
		{"beyond 64 bits", "services:\n  web:\n    servers: [{ address: a:1, max_connections: 99999999999999999999 }]\n", []string{
			`site.yaml:3:48: services.web.servers[0].max_connections: expected a whole number, found 99999999999999999999`}},
		{"number for text", "listeners: { http: { address: 80 } }\n", []string{
			`site.yaml:1:31: listeners.http.address: expected text, found the number 80; put it in quotes`}},
		{"nothing for text", "routes: [{ host: , redirect: 'https://x.test' }]\n", []string{`site.yaml:1:16: routes[0].host: expected text, found nothing`}},
		{"list for text", "certificates: { email: [a] }\n", []string{`site.yaml:1:24: certificates.email: expected text, found a list`}},
		{"bare duration", "services:\n  web: { servers: [a:1], health: { interval: 5 } }\n", []string{
			`site.yaml:2:46: services.web.health.interval: expected a duration such as 2s or 500ms, found the number 5; did you mean 5s?`}},
		{"bad duration", "services:\n  web: { servers: [a:1], health: { interval: 5 seconds } }\n", []string{
			`site.yaml:2:46: services.web.health.interval: expected a duration such as 2s or 500ms, found "5 seconds"`}},
		{"negative duration", "services:\n  web: { servers: [a:1], health: { interval: -5s } }\n", []string{
			`site.yaml:2:46: services.web.health.interval: expected a duration such as 2s or 500ms, found "-5s"`}},
		{"yes for true", "listeners: { http: { address: ':80', tls: yes } }\n", []string{
			`site.yaml:1:43: listeners.http.tls: expected true or false, found "yes"; did you mean true?`}},
		{"not in enum", "services:\n  web: { servers: [a:1], balance: round-robin }\n", []string{
			`site.yaml:2:35: services.web.balance: expected round_robin, least_requests, random_two, ip_hash, hash or first, found "round-robin"; did you mean "round_robin"?`}},
		{"true for on", "access_log: true\n", []string{`site.yaml:1:13: access_log: expected on or off, found true; did you mean "on"?`}},
		{"text for a list", "vips: 10.0.0.1\n", []string{`site.yaml:1:7: vips: expected a list, found "10.0.0.1"`}},
		{"list for a mapping", "services: [web]\n", []string{`site.yaml:1:11: services: expected a mapping (name: …), found a list`}},
		{"text for a struct", "routes: [web]\n", []string{`site.yaml:1:10: routes[0]: expected a mapping (key: value), found "web"`}},
		{"number for a short form", "vips: [5]\n", []string{`site.yaml:1:8: vips[0]: expected an address, or a mapping with it; found the number 5`}},
		{"empty health", "services:\n  web:\n    servers: [a:1]\n    health:\n", []string{
			`site.yaml:4:11: services.web.health: has no value; remove the key, or write {} for the defaults`}},
		{"empty sticky", "services:\n  web:\n    servers: [a:1]\n    sticky:\n", []string{
			`site.yaml:4:11: services.web.sticky: has no value; remove the key`}},
		{"empty service", "services:\n  web:\n", []string{`site.yaml:2:3: services.web.servers: no servers: name at least one, as host:port, or say register: true if they register themselves`}},
		{"service without servers", "services:\n  web: { servers: [] }\n", []string{`site.yaml:2:19: services.web.servers: no servers: name at least one, as host:port, or say register: true if they register themselves`}},
		{"service without the key", "services:\n  web: {}\n", []string{`site.yaml:2:3: services.web.servers: no servers: name at least one, as host:port, or say register: true if they register themselves`}},

		// Places.
		{"after characters of many bytes", "certificates: {email: überörtlich, ümail: x, nope: x}\n", []string{
			`site.yaml:1:36: certificates.ümail: unknown key; did you mean "email"?`, `site.yaml:1:46: certificates.nope: unknown key; valid are email`}},
		{"after quoted characters of many bytes", "certificates: {\"email\": \"ü\\u00fc\\n\", 'ümail': 'ö'}\nvips: ['日本', \"x\"]\n", []string{
			`site.yaml:1:38: certificates.ümail: unknown key; did you mean "email"?`,
			`site.yaml:2:8: vips[0].address: "日本" is not an IP address…`, `site.yaml:2:14: vips[1].address: "x" is not an IP address…`}},
		{"after a block of text", "certificates:\n  email: |\n    ü: [\n\n    \"{\n  nope: x\n", []string{`site.yaml:6:3: certificates.nope: unknown key; valid are email`}},
		{"after text of two lines", "certificates: {email: \"ü\n  ü\", nope: x}\n", []string{`site.yaml:2:7: certificates.nope: unknown key; valid are email`}},
		{"nothing in a list", "vips:\n  - 10.0.0.1/24\n  -   # x\n  -\n", []string{
			`site.yaml:3:3: vips[1]: expected an address, or a mapping with it; found nothing`, `site.yaml:4:3: vips[2]: expected an address, or a mapping with it; found nothing`}},
		{"nothing but an anchor", "routes:\n  - &a\n", []string{`site.yaml:2:5: routes[0]: the route leads nowhere: give it a service, a redirect or respond`}},
		{"nothing in braces", "routes: [{ host:\n }, { host: ~ }]\n", []string{
			`site.yaml:1:12: routes[0].host: expected text, found nothing`, `site.yaml:2:13: routes[1].host: expected text, found nothing`}},

		// Names.
		{"route to no service", "routes:\n  - { host: x.test, service: wbe }\nservices: { web: { servers: [a:1] } }\n", []string{
			`site.yaml:2:30: routes[0].service: no service "wbe"; did you mean "web"?`}},
		{"route to no service like it", "routes:\n  - { service: frontend }\nservices: { web: { servers: [a:1] } }\n", []string{
			`site.yaml:2:16: routes[0].service: no service "frontend"; there are web`}},
		{"route without any service", "routes:\n  - { service: web }\n", []string{
			`site.yaml:2:16: routes[0].service: no service "web"; the document has no services`}},
		{"tcp listener to no service", "listeners: { pg: { address: ':1', protocol: tcp, service: postgers } }\nservices: { postgres: { servers: [a:1] } }\n", []string{
			`site.yaml:1:59: listeners.pg.service: no service "postgers"; did you mean "postgres"?`}},
		{"bad name", "services:\n  my web: { servers: [a:1] }\n", []string{
			`site.yaml:2:3: services.my web: "my web" is not a valid name: 1 to 63 letters, digits, dots, underscores and hyphens`}},
		{"empty name", "listeners: { '': { address: ':80' } }\n", []string{
			`site.yaml:1:14: listeners.: "" is not a valid name: 1 to 63 letters, digits, dots, underscores and hyphens`}},

		// Collisions.
		{"duplicate listener", "listeners:\n  a: { address: ':80' }\n  b: { address: '0.0.0.0:80' }\n", []string{
			`site.yaml:3:17: listeners.b.address: duplicate address: 0.0.0.0:80 is already that of listener "a" on line 2`}},
		{"duplicate listener, v6", "listeners:\n  a: { address: '[::1]:80' }\n  b: { address: '[0:0::1]:80' }\n  c: { address: '[::1]:81' }\n", []string{
			`site.yaml:3:17: listeners.b.address: duplicate address: [0:0::1]:80 is already that of listener "a" on line 2`}},
		{"covered listener", "listeners:\n  a: { address: ':80' }\n  b: { address: '10.0.0.1:80' }\n", []string{
			`site.yaml:3:17: listeners.b.address: duplicate address: 10.0.0.1:80 is covered by that of listener "a" on line 2`}},
		{"covering listener", "listeners:\n  a: { address: '10.0.0.1:80' }\n  b: { address: ':80' }\n", []string{
			`site.yaml:3:17: listeners.b.address: duplicate address: :80 covers that of listener "a" on line 2`}},
		{"covered by all of IPv4", "listeners:\n  a: { address: '0.0.0.0:80' }\n  b: { address: '10.0.0.1:080' }\n  c: { address: '[fd00::1]:80' }\n", []string{
			`site.yaml:3:17: listeners.b.address: duplicate address: 10.0.0.1:080 is covered by that of listener "a" on line 2`}},
		{"bad listener address", "listeners:\n  a: { address: localhost }\n  b: { address: 'x:80' }\n  c: { address: ':99999' }\n", []string{
			`site.yaml:2:17: listeners.a.address: …`, `site.yaml:3:17: listeners.b.address: …`, `site.yaml:4:17: listeners.c.address: …`}},
		{"tcp listener without service", "listeners:\n  a: { address: ':80', protocol: tcp }\n", []string{`site.yaml:2:3: listeners.a.service: …`}},
		{"route to nowhere", "routes:\n  - { host: a.test }\n", []string{`site.yaml:2:5: routes[0]: …`}},
		{"wrong key hides where a route leads", "routes:\n  - { host: a.test, servise: web }\n", []string{
			`site.yaml:2:21: routes[0].servise: unknown key; did you mean "service"?`}},
		{"bad host", "routes:\n  - { host: 'a.*.test', redirect: 'https://a.test' }\n  - { host: 'https://b.test', redirect: x }\n", []string{
			`site.yaml:2:13: routes[0].host: …`, `site.yaml:3:13: routes[1].host: …`, `site.yaml:3:41: routes[1].redirect: …`}},
		{"redirect to nowhere", "listeners:\n  a: { address: ':80', redirect_https: true }\n", []string{
			`site.yaml:2:40: listeners.a.redirect_https: there is no https listener to redirect to; give one tls: true`}},
		{"duplicate route", "routes:\n  - { host: x.test, redirect: 'https://a.test' }\n  - { host: X.test., path: /, redirect: 'https://b.test' }\n", []string{
			`site.yaml:3:5: routes[1]: duplicate route: x.test with path "/" is on line 2 already`}},
		{"duplicate route of any host", "routes:\n  - { redirect: 'https://a.test' }\n  - { redirect: 'https://b.test' }\n", []string{
			`site.yaml:3:5: routes[1]: duplicate route: any host with path "/" is on line 2 already`}},
		{"duplicate VIP", "vips: [10.0.0.1/24, 10.0.0.1/32]\n", []string{
			`site.yaml:1:21: vips[1].address: duplicate VIP 10.0.0.1; the first is on line 1`}},
		{"duplicate VIP, written differently", "vips: ['fd00::1/64', { address: 'fd00:0:0::1' }]\n", []string{
			`site.yaml:1:33: vips[1].address: duplicate VIP fd00::1; the first is on line 1`}},
		{"bad VIP", "vips:\n  - 10.0.0\n", []string{`site.yaml:2:5: vips[0].address: "10.0.0" is not an IP address…`}},
		{"bad prefix", "vips:\n  - address: 10.0.0.1/33\n", []string{`site.yaml:2:14: vips[0].address: "10.0.0.1/33" has no prefix length…`}},
		{"duplicate server", "services:\n  web: { servers: ['[::1]:80', a:1, '[0::1]:80'] }\n", []string{
			`site.yaml:2:37: services.web.servers[2]: duplicate server: [::1]:80 is on line 2 already`}},
		{"server without port", "services:\n  web:\n    servers:\n      - 10.0.0.1\n      - { address: x }\n", []string{
			`site.yaml:4:9: services.web.servers[0].address: …`,
			`site.yaml:5:20: services.web.servers[1].address: …`}},
		{"name servers", "dns:\n  servers: [10.0.0.2:53, ns.test:53, 10.0.0.2]\n", []string{
			`site.yaml:2:26: dns.servers[1]: "ns.test:53" is no address of a name server: give an IP address with a port, as in 10.0.0.2:53`,
			`site.yaml:2:38: dns.servers[2]: name server 10.0.0.2:53 is listed twice: servers[0] has it already`}},
		{"services that survive", `services:
  web:
    servers: [{ address: "a:1", weight: 257 }, { srv: "x y" }]
    balance: hash
    health: { type: agent, rise: -1 }
    passive: { status: [200] }
    retries: { status: [404], hedge: 1us }
    limits: { pending: -1 }
    sticky: { cookie: a, same_site: loose }
    all_down: panik
  b:
    servers: [a:1]
    balance: hash
    hash: { header: a, path: true }
    health: { type: exec }
    slow_start: 5
  c:
    servers: [a:1]
    health: { type: grpc, status: [200] }
`, []string{
			`site.yaml:3:41: services.web.servers[0].weight: must be from 0 to 256, found 257`,
			`site.yaml:3:55: services.web.servers[1].srv: "x y" is no name of SRV records, such as _http._tcp.web.example.com`,
			`site.yaml:4:14: services.web.balance: balance: hash needs to know of what: give hash a header, a cookie, a query parameter, or path: true`,
			`site.yaml:5:13: services.web.health.port: type agent needs the port at which the agent listens`,
			`site.yaml:5:34: services.web.health.rise: must be at least 0, found -1`,
			`site.yaml:6:25: services.web.passive.status[0]: 200 is not between 400 and 599`,
			`site.yaml:7:25: services.web.retries.status[0]: 404 is not between 500 and 599`,
			`site.yaml:7:38: services.web.retries.hedge: 1µs is below 1ms: give it a unit, as in 2s`,
			`site.yaml:8:24: services.web.limits.pending: must be at least 0, found -1`,
			`site.yaml:9:37: services.web.sticky.same_site: expected lax, strict or none, found "loose"`,
			`site.yaml:10:15: services.web.all_down: expected fail or panic, found "panik"; did you mean "panic"?`,
			`site.yaml:14:11: services.b.hash: name one of header, cookie, query and path; there are 2`,
			`site.yaml:15:13: services.b.health.command: type exec needs a command, as in [/usr/local/bin/check, --quick]`,
			`site.yaml:16:17: services.b.slow_start: expected a duration such as 2s or 500ms, found the number 5; did you mean 5s?`,
			`site.yaml:19:21: services.c.health.type: type grpc asks in HTTP/2…`,
			`site.yaml:19:35: services.c.health.status: status does not go with type grpc, only with http`}},
		{"health path", "services:\n  web:\n    servers: [a:1]\n    health: { path: healthz }\n", []string{
			`site.yaml:4:21: services.web.health.path: …`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantProblems(t, c.text, c.want)
		})
	}
}

// wantProblems checks the problems of a text, each as one line.
func wantProblems(t *testing.T, text string, want []string) {
	t.Helper()
	ps := problems(t, text)
	var got []string
	for _, p := range ps {
		got = append(got, p.String())
	}
	if !slices.EqualFunc(got, want, func(got, want string) bool {
		if start, open := strings.CutSuffix(want, "…"); open {
			return strings.HasPrefix(got, start)
		}
		return got == want
	}) {
		t.Errorf("got\n  %s\nwant\n  %s\nof\n%.500s", strings.Join(got, "\n  "), strings.Join(want, "\n  "), text)
	}
	if ps[0].Line > 0 {
		furtherDown(t, text, ps)
	}
}

// furtherDown checks that the problems of a text are in the same place of it when it does not begin on the first line, of which the library
// says nothing.
func furtherDown(t *testing.T, text string, want Problems) {
	t.Helper()
	same := func(a, b Problem) bool { return a.Line == b.Line+2 && a.Column == b.Column && a.Path == b.Path }
	if got := problems(t, "# é\n\n"+text); !slices.EqualFunc(got, want, same) {
		t.Errorf("two lines further down: got\n%v\nwant\n%v", got, want)
	}
}

// bomb is a short document of nine million servers.
func bomb() string {
	var b strings.Builder
	b.WriteString("services:\n  a:\n    servers: &s\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "      - a.test:%d\n", 1+i)
	}
	for i := range 3000 {
		fmt.Fprintf(&b, "  s%d: { servers: *s }\n", i)
	}
	return b.String()
}

func TestBombIsRefusedAtItsBound(t *testing.T) {
	// Each service repeats 3001 values: the list and its items.
	want := "site.yaml:970:9: services.s33.servers[966]: aliases expand to more than 100000 values; write them out, or use fewer"
	if ps := problems(t, bomb()); ps.Error() != want {
		t.Errorf("got  %v\nwant %s", ps, want)
	}
	// The same with merge keys.
	var b strings.Builder
	b.WriteString("services:\n  a: &m0 { servers: [a:1] }\n")
	for i := range 60 {
		fmt.Fprintf(&b, "  s%d: &m%d { <<: [*m%d, *m%d, *m%d] }\n", i, i+1, i, i, i)
	}
	if ps := problems(t, b.String()); !strings.Contains(ps.Error(), "aliases expand to more than 100000 values") {
		t.Errorf("got %v", ps)
	}
}

func TestProblemsAreShownInOrderAndNotWithoutEnd(t *testing.T) {
	var b strings.Builder
	b.WriteString("services:\n  web: { servers: [a] }\nroutes:\n")
	for i := range 29 {
		fmt.Fprintf(&b, "  - { service: none, path: /%d }\n", i)
	}
	ps := problems(t, b.String())
	lines := strings.Split(ps.Error(), "\n")
	if len(ps) != 30 || len(lines) != 21 || lines[20] != "and 10 more" {
		t.Errorf("%d problems:\n%v", len(ps), ps)
	}
	if !slices.IsSortedFunc(ps, func(a, b Problem) int { return a.Line - b.Line }) {
		t.Errorf("not in order:\n%v", ps)
	}
	ps = problems(t, "routes:\n"+strings.Repeat("  - {}\n  - x\n", 5000))
	if len(ps) != maxProblems || !strings.HasSuffix(ps.Error(), "\nand 980 more at least") {
		t.Errorf("%d problems: %s", len(ps), ps.Error())
	}
}

func TestAMessageIsOneLine(t *testing.T) {
	ps := problems(t, `services: {"a\nb\x1b[31m": {"x\ny`+strings.Repeat("z", 5000)+`": 1}}`)
	for line := range strings.SplitSeq(ps.Error(), "\n") {
		if !strings.HasPrefix(line, "site.yaml:1:") || strings.ContainsRune(line, 0x1b) || len(line) > 1200 {
			t.Errorf("%q", line)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"interval", "timeout", "path", "rise", "fall"}
	for word, want := range map[string]string{
		"intervall": "interval", "Interval": "interval", "tiemout": "timeout", "paht": "path", "fal": "fall", "x": "",
		"retries": "", "pathology": "", "": "", strings.Repeat("é", 100): "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
