package rule

import (
	"net/netip"
	"strings"
	"testing"

	"tripod/proxy/web/message"
)

func TestClientAddress(t *testing.T) {
	trusted := networks(t, "10.0.0.0/8", "fd00::/8")
	const proxy = "10.0.0.1"
	for _, c := range []struct {
		remote string
		fields []string
		client string
		scheme string
	}{
		// Who is not trusted is the client, whatever it says.
		{"192.0.2.1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"}, "192.0.2.1", ""},
		{"::ffff:192.0.2.1", nil, "192.0.2.1", ""},
		{"fe80::1%eth0", nil, "fe80::1", ""},

		// X-Forwarded-For: the last one that is not trusted, over all lines.
		{proxy, nil, proxy, ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: HTTPS"}, "192.0.2.1", "https"},
		{proxy, []string{"x-forwarded-for: 198.51.100.1, 192.0.2.1 ,\t10.0.0.2"}, "192.0.2.1", ""},
		{proxy, []string{"X-Forwarded-For: 198.51.100.1", "X-A: b", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.3,10.0.0.2"}, "192.0.2.1", ""},
		{proxy, []string{"X-Forwarded-For: 10.0.0.3, 10.0.0.2"}, "10.0.0.3", ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1:4711"}, "192.0.2.1", ""},
		{proxy, []string{"X-Forwarded-For: [2001:db8::1]:4711, fd00::1"}, "2001:db8::1", ""},
		{proxy, []string{"X-Forwarded-For: [2001:db8::1]"}, "2001:db8::1", ""},
		{proxy, []string{"X-Forwarded-For: ::ffff:192.0.2.1"}, "192.0.2.1", ""},
		{"::ffff:10.0.0.1", []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1", ""},
		{proxy, []string{"X_Forwarded_For: 192.0.2.1", "X-Forwarded: 192.0.2.2"}, proxy, ""},

		// What cannot be read ends the walk at the last proxy that is known.
		{proxy, []string{"X-Forwarded-For: 192.0.2.1, unknown"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1, _hidden, 10.0.0.2"}, "10.0.0.2", ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1,,10.0.0.2,"}, "192.0.2.1", ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.300"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1:"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1:x"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: [192.0.2.1]"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: [2001:db8::1"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: fe80::1%eth0"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1 10.0.0.2"}, proxy, ""},
		{proxy, []string{"X-Forwarded-For: " + strings.Repeat("10.0.0.9, ", maxHops) + "10.0.0.2"}, "10.0.0.9", ""},

		// The scheme of the proxy that spoke with the client.
		{proxy, []string{"X-Forwarded-Proto: https"}, proxy, "https"},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1, 10.0.0.2", "X-Forwarded-Proto: https, http"}, "192.0.2.1", "https"},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1, 10.0.0.2", "X-Forwarded-Proto: http"}, "192.0.2.1", "http"},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, "192.0.2.1", "http"},
		{proxy, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: gopher"}, "192.0.2.1", ""},

		// Forwarded (RFC 7239 §4, §6).
		{proxy, []string{"Forwarded: for=192.0.2.1"}, "192.0.2.1", ""},
		{proxy, []string{`forwarded: For="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::17", ""},
		{proxy, []string{"Forwarded: for=192.0.2.60;proto=https;by=203.0.113.43"}, "192.0.2.60", "https"},
		{proxy, []string{`Forwarded: for=198.51.100.9, for=192.0.2.43;proto=https`, `Forwarded: for="10.0.0.2:_p";proto=http`}, "192.0.2.43", "https"},
		{proxy, []string{`Forwarded: for=192.0.2.1;host="a,b;\"c";proto="http"`}, "192.0.2.1", "http"},
		{proxy, []string{`Forwarded: proto=https ; for="192.0.2.1" ;`}, "192.0.2.1", "https"},
		{proxy, []string{"Forwarded: for=unknown", "Forwarded: for=10.0.0.2;proto=https"}, "10.0.0.2", "https"},
		{proxy, []string{"Forwarded: for=192.0.2.1, for=_hidden"}, proxy, ""},
		{proxy, []string{"Forwarded: proto=https"}, proxy, ""},
		{proxy, []string{"Forwarded: for=[2001:db8::1]"}, proxy, ""}, // must be quoted
		{proxy, []string{"Forwarded: for=192.0.2.1;for=192.0.2.2"}, proxy, ""},
		{proxy, []string{`Forwarded: for="192.0.2.1`}, proxy, ""},
		{proxy, []string{`Forwarded: for="192.0.2.1"x`}, proxy, ""},
		{proxy, []string{`Forwarded: for = 192.0.2.1`}, proxy, ""},
		{proxy, []string{`Forwarded: for=`}, proxy, ""},

		// What a client wrote before what a proxy added hides nothing.
		{proxy, []string{`Forwarded: for=", for=192.0.2.1`}, "192.0.2.1", ""},
		{proxy, []string{`Forwarded: for="\`, "Forwarded: for=192.0.2.1;proto=https"}, "192.0.2.1", "https"},
		{proxy, []string{`Forwarded: host="\", for=192.0.2.1, for="10.0.0.2"`}, "192.0.2.1", ""},
		{proxy, []string{"X-Forwarded-For: garbage, 192.0.2.1"}, "192.0.2.1", ""},

		// A proxy that knows X-Forwarded-For passes Forwarded on as the client sent it.
		{proxy, []string{"Forwarded: for=198.51.100.1;proto=https", "X-Forwarded-For: 192.0.2.1"}, "192.0.2.1", ""},
	} {
		client, scheme := ClientAddress(netip.MustParseAddr(c.remote), fieldsOf(c.fields...), trusted)
		if client.String() != c.client || scheme != c.scheme {
			t.Errorf("%s %q: got %s, %q, want %s, %q", c.remote, c.fields, client, scheme, c.client, c.scheme)
		}
	}
}

// FuzzClientAddress has a proxy that appends to whatever a client sent: what it appends decides.
func FuzzClientAddress(f *testing.F) {
	for _, s := range []string{"", "192.0.2.1", `for="`, `for="\`, `for=_x, for="[::1]:1";proto=https`, ",,", "[", "10.0.0.1, 10.0.0.2:1", `a="b,c\"`, `"`, `\`, `for=10.0.0.2;by="`} {
		f.Add(s, s, true)
		f.Add(s, "10.0.0.7", false)
	}
	trusted := networks(f, "10.0.0.0/8")
	remote, real := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, first, second string, standard bool) {
		fields := fieldsOf("X-Forwarded-For: x", "X-Forwarded-For: y")
		fields[0].Value, fields[1].Value = first, second
		added := ", 192.0.2.1, 10.0.0.2:80"
		if standard {
			fields[0].Name, fields[1].Name = "Forwarded", "forwarded"
			added = `, for=192.0.2.1;host="a,\"b", for="10.0.0.2:80";proto=https`
		}
		client, scheme := ClientAddress(remote, fields, trusted)
		if !client.IsValid() || scheme != "" && scheme != "http" && scheme != "https" {
			t.Fatalf("got %s, %q", client, scheme)
		}
		fields[1].Value += added
		if client, _ := ClientAddress(remote, fields, trusted); client != real {
			t.Fatalf("%q: got %s", fields, client)
		}
		if client, scheme := ClientAddress(real, fields, trusted); client != real || scheme != "" {
			t.Fatalf("not trusted: got %s, %s", client, scheme)
		}
	})
}

func TestAppendForwarded(t *testing.T) {
	for _, c := range []struct{ client, host, proto, by, want string }{
		{"192.0.2.1", "shop.test", "https", "", "for=192.0.2.1;host=shop.test;proto=https"},
		{"2001:db8::1", "shop.test:8443", "http", "_node1", `by=_node1;for="[2001:db8::1]";host="shop.test:8443";proto=http`},
		{"::ffff:192.0.2.1", "[::1]:80", "https", "10.0.0.1:443", `by="10.0.0.1:443";for=192.0.2.1;host="[::1]:80";proto=https`},
		{"fe80::1%eth0", "", "", "", `for="[fe80::1]"`},
		{"", `a"b\c` + "\r\n", "https", "", `for=unknown;host="a\"b\\c__";proto=https`},
	} {
		var client netip.Addr
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		got := string(AppendForwarded([]byte("before "), client, c.host, c.proto, c.by))
		if got != "before "+c.want {
			t.Errorf("%+v: got %s", c, got)
		}
		if client.IsValid() { // and back again
			field := message.Field{Name: "Forwarded", Value: got[len("before "):], Kind: message.Provenance}
			back, proto := ClientAddress(netip.MustParseAddr("::2"), []message.Field{field}, networks(t, "::2"))
			if back != client.Unmap().WithZone("") || proto != c.proto {
				t.Errorf("%s: got %s, %s", got, back, proto)
			}
		}
	}
	for word, want := range map[Forwarded][2]bool{XForwarded: {true, false}, Standard: {false, true}, Both: {true, true}} {
		if word.HasX() != want[0] || word.HasStandard() != want[1] {
			t.Errorf("%d: %t, %t", word, word.HasX(), word.HasStandard())
		}
	}
}
