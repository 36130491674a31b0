package message

import (
	"strings"
	"testing"
)

// kinds has every name that a proxy has to know.
var kinds = map[string]Kind{
	"content-length": ContentLength, "transfer-encoding": TransferEncoding, "host": Host, "connection": Connection, "keep-alive": KeepAlive,
	"proxy-authenticate": ProxyAuthenticate, "proxy-authorization": ProxyAuthorization, "proxy-connection": ProxyConnection, "te": TE,
	"upgrade": Upgrade, "http2-settings": HTTP2Settings, "expect": Expect, "trailer": Trailer, "cookie": Cookie, "set-cookie": SetCookie,
	"authorization": Authorization, "content-type": ContentType, "content-encoding": ContentEncoding, "accept-encoding": AcceptEncoding,
	"cache-control": CacheControl, "date": Date, "server": Server, "user-agent": UserAgent, "location": Location, "priority": Priority,
	"x-forwarded-for": Provenance, "x-forwarded-": Provenance, "x_forwarded_proto": Provenance, "x-forwarded_anything": Provenance,
	"forwarded": Provenance, "x-real-ip": Provenance, "x_real_ip": Provenance, "x-request-id": Provenance, "x_request-id": Provenance,
}

func TestKindOf(t *testing.T) {
	for name, want := range kinds {
		for _, spelt := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := KindOf(spelt); got != want {
				t.Errorf("%s: kind %d, want %d", spelt, got, want)
			}
		}
	}
	for _, name := range []string{"", "x", "f", "hosts", "hos", "tes", "x-forwardedfor", "xx-forwarded-for", "forwarded-for", "x-real-ips", "x-request-ids",
		"content_length", "transfer_encoding", "content-lengt\x08", "accept", "etag", "vary", "content-lengtH "} {
		if got := KindOf(name); got != Other {
			t.Errorf("%q: kind %d, want none", name, got)
		}
	}
}

// Those that end here are those of RFC 9110 §7.6.1, and some that clients send in spite of it.
func TestHopByHop(t *testing.T) {
	ends := "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te upgrade http2-settings transfer-encoding"
	for name, kind := range kinds {
		if want := strings.Contains(" "+ends+" ", " "+name+" "); kind.HopByHop() != want {
			t.Errorf("%s ends here: %v, want %v", name, kind.HopByHop(), want)
		}
	}
	r := Request{Named: []string{"X-Hop"}}
	for name, want := range map[string]bool{"x-hop": true, "X-HOP": true, "x-hops": false, "Connection": true, "Accept": false} {
		if r.EndsHere(Field{Name: name, Kind: KindOf(name)}) != want {
			t.Errorf("%s named by Connection: ends here is not %v", name, want)
		}
	}
}

func TestMayTrail(t *testing.T) {
	for name, want := range map[string]bool{"X-Sum": true, "Server-Timing": true, "Content-Length": false, "Host": false, "Cookie": false, "Set-Cookie": false,
		"Authorization": false, "X-Forwarded-For": false, "Content-Range": false, "Max-Forwards": false, "Trailer": false, "Connection": false} {
		if MayTrail(Field{Name: name, Kind: KindOf(name)}) != want {
			t.Errorf("%s may trail: not %v", name, want)
		}
	}
}

func TestTokens(t *testing.T) {
	for list, want := range map[string]string{"": "", ",": "", "a": "a", " a , ,b,\tc ": "a|b|c", "a b": "a b"} {
		var got []string
		for token, rest, ok := NextToken(list); ok; token, rest, ok = NextToken(rest) {
			got = append(got, token)
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
	if !HasToken("close, Upgrade", "upgrade") || HasToken("upgrades", "upgrade") {
		t.Error("HasToken")
	}
}
