package rule

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tripod/proxy/web/message"
)

// fieldsOf makes fields from lines such as "Name: value".
func fieldsOf(lines ...string) []message.Field {
	fields := make([]message.Field, 0, len(lines)+8)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		fields = append(fields, message.Field{Name: name, Value: value, Kind: message.KindOf(name)})
	}
	return fields
}

func linesOf(fields []message.Field) []string {
	var lines []string
	for _, f := range fields {
		lines = append(lines, f.Name+": "+f.Value)
	}
	return lines
}

func wantFields(t *testing.T, what string, got []message.Field, want ...string) {
	t.Helper()
	if lines := linesOf(got); !slices.Equal(lines, want) {
		t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(lines, "\n  "), strings.Join(want, "\n  "))
	}
}

func testVars() *Vars {
	return &Vars{Client: "192.0.2.1", Host: "shop.test:8080", Path: "/a%20b", ID: "id1", Listener: "https"}
}

func TestEditRequest(t *testing.T) {
	route := Config{Common: Common{RequestHeaders: &HeadersConfig{
		Set:    map[string]string{"X-A": "route {client}", "x-new": "{id}", "Host": "{listener}.internal", "X-Real-Ip": "{client}"},
		Add:    map[string]string{"X-Two": "2", "X-Brace": "{{x}} {host}{path}"},
		Remove: []string{"x-gone", "X-Service"},
	}}}
	service := Common{RequestHeaders: &HeadersConfig{Set: map[string]string{"X-Service": "s", "X-A": "service", "X-B": "b", "Host": "service.internal"}}}
	r, err := Compile("/", route, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := testVars()
	got := r.EditRequest(fieldsOf("Accept: */*", "x-a: 1", "X-Gone: 1", "X-A: 2", "X-Two: 1", "X_Gone: 2", "x_a: 3"), v)
	wantFields(t, "request", got, "Accept: */*", "X-A: route 192.0.2.1", "X-Two: 1", "X-B: b", "X-Real-Ip: 192.0.2.1", "x-new: id1",
		"X-Brace: {x} shop.test:8080/a%20b", "X-Two: 2")
	for _, f := range got {
		if f.Kind == message.Provenance {
			t.Errorf("%s would be dropped with what a client says of itself", f.Name)
		}
	}
	if host, ok := r.Host(v); host != "https.internal" || !ok {
		t.Errorf("host %q, %t", host, ok)
	}
	wantFields(t, "response", r.EditResponse(fieldsOf("X-A: 1"), v), "X-A: 1")

	var none *Rules
	wantFields(t, "no rules", none.EditRequest(fieldsOf("X-A: 1"), v), "X-A: 1")
	wantFields(t, "no rules", none.EditResponse(fieldsOf("X-A: 1"), v), "X-A: 1")
	if host, ok := none.Host(v); host != "" || ok {
		t.Errorf("host %q, %t", host, ok)
	}
}

func TestEditResponse(t *testing.T) {
	route := Config{
		Respond: &RespondConfig{Headers: map[string]string{"X-Fixed": "{id}", "X-A": "fixed"}},
		Common: Common{ResponseHeaders: &HeadersConfig{
			Set: map[string]string{"Strict-Transport-Security": "max-age=1"}, Add: map[string]string{"Set-Cookie": "a=b"}, Remove: []string{"Server"},
		}},
	}
	if err := route.Validate("/", ToAnswer); err != nil {
		t.Fatal(err)
	}
	r, err := Compile("/", route, Common{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := r.EditResponse(fieldsOf("Server: x", "Set-Cookie: c=d", "strict-transport-security: max-age=9", "STRICT-TRANSPORT-SECURITY: y"), testVars())
	wantFields(t, "response", got, "Set-Cookie: c=d", "Strict-Transport-Security: max-age=1", "X-A: fixed", "X-Fixed: id1", "Set-Cookie: a=b")
	if got[4].Kind != message.SetCookie {
		t.Errorf("kind of an added field is %d", got[4].Kind)
	}
}

// TestNoLineEnds is the second line of defence: an engine lets no such value through.
func TestNoLineEnds(t *testing.T) {
	r := compiled(t, "/", Config{Common: Common{RequestHeaders: &HeadersConfig{Set: map[string]string{"X-A": "{host}", "X-B": "a{path}"}}}})
	got := r.EditRequest(nil, &Vars{Host: "a\r\nX-Evil: 1", Path: "/\x00\x7f"})
	wantFields(t, "request", got, "X-A: a__X-Evil: 1", "X-B: a/__")
}

func TestTemplates(t *testing.T) {
	for value, want := range map[string]string{
		"plain": "plain", "{client}": "192.0.2.1", "{{client}}": "{client}", "a{id}b{id}": "aid1bid1", "}": "}", "a}}b": "a}b", "{{{id}}}": "{id1}", "{{}}": "{}",
	} {
		parsed, fault := parseTemplate(value)
		if got := parsed.expand(testVars()); got != want || fault != "" {
			t.Errorf("%s: got %q, %s", value, got, fault)
		}
	}
	for _, value := range []string{"{", "{x}", "{}", "{id", "{{{", "{ID}", "{ id }"} {
		if parsed, fault := parseTemplate(value); fault == "" {
			t.Errorf("%s: got %v", value, parsed)
		}
	}
}

// TestNothingIsAllocated has what is called for every request.
func TestNothingIsAllocated(t *testing.T) {
	r, err := Compile("/api/", Config{
		Allow: []string{"10.0.0.0/8", "2001:db8::/32"}, Deny: []string{"10.6.6.6"}, StripPrefix: true,
		Common: Common{
			RequestHeaders:  &HeadersConfig{Set: map[string]string{"X-A": "a {client} {host}", "X-B": "{id}", "Host": "x.{host}"}, Add: map[string]string{"X-C": "c"}, Remove: []string{"X-D"}},
			ResponseHeaders: &HeadersConfig{Set: map[string]string{"X-A": "a"}, Remove: []string{"Server"}},
			Compress:        []string{"zstd", "br", "gzip"},
		},
	}, Common{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddr("10.1.2.3")
	trusted := networks(t, "10.0.0.0/8")
	v := testVars()
	v.Scratch = make([]byte, 0, 256)
	target := make([]byte, 0, 256)
	source := fieldsOf("Accept: */*", "X-A: 1", "X-D: 2")
	fields := make([]message.Field, 0, 16)
	answer := fieldsOf("Content-Type: text/html; charset=utf-8", "Content-Length: 5000", `ETag: "x"`, "Server: y", "Vary: Cookie")
	forwarded := fieldsOf("X-Forwarded-For: 192.0.2.1, 10.0.0.1, unknown", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Proto: https")
	standard := fieldsOf(`Forwarded: for="[2001:db8::1]:443";proto=https, for=10.0.0.1`)
	for name, f := range map[string]func(){
		"Admit":         func() { r.Admit(client) },
		"Target":        func() { target = r.Target(target[:0], "/api/a/b?c=d") },
		"Target, walk":  func() { target = r.Target(target[:0], "/%61pi/a/../b%2Fc?c=d") },
		"EditRequest":   func() { v.Scratch = v.Scratch[:0]; fields = r.EditRequest(append(fields[:0], source...), v) },
		"Host":          func() { v.Scratch = v.Scratch[:0]; r.Host(v) },
		"EditResponse":  func() { fields = r.EditResponse(append(fields[:0], answer...), v) },
		"Choose":        func() { r.Choose("gzip, deflate, br;q=0.9, zstd;q=1.0", 200, 5000, answer) },
		"Encode":        func() { v.Scratch = v.Scratch[:0]; fields = Encode(append(fields[:0], answer...), Zstd, v) },
		"ClientAddress": func() { ClientAddress(client, forwarded, trusted) },
		"Forwarded":     func() { ClientAddress(client, standard, trusted) },
		"AppendForwarded": func() {
			target = AppendForwarded(target[:0], client, "shop.test:443", "https", "_node1")
		},
		"ErrorPage": func() { r.ErrorPage(503) },
	} {
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkEditRequest(b *testing.B) {
	r := compiled(b, "/", Config{Common: Common{RequestHeaders: &HeadersConfig{Set: map[string]string{"X-A": "a {client}"}, Remove: []string{"X-D"}}}})
	v, source, fields := testVars(), fieldsOf("Accept: */*", "X-A: 1", "X-D: 2", "Cookie: x", "User-Agent: y"), make([]message.Field, 0, 16)
	for b.Loop() {
		v.Scratch = v.Scratch[:0]
		fields = r.EditRequest(append(fields[:0], source...), v)
	}
}
