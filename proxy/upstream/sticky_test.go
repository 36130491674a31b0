package upstream

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestStickyKeepsAClient(t *testing.T) {
	c := Config{Sticky: &StickyConfig{Cookie: "c"}, Servers: []ServerConfig{{Address: at("a")}, {Address: at("b"), MaxConnections: 1}}}
	p, s := pool(t, c)
	other, _ := pool(t, c)
	tag := s.servers[1].Tag()
	if tag == "" || tag == s.servers[0].Tag() || tag != other.Service("s").servers[1].Tag() {
		t.Errorf("tags %q %q", tag, s.servers[0].Tag())
	}
	b := one(t, s, tag)
	if letter(b) != "b" {
		t.Fatal(b.Address())
	}
	if again := one(t, s, tag); letter(again) != "a" {
		t.Errorf("full: %v", again.Address())
	}
	b.Release()
	order := func(o Order) { p.SetOrders(map[string]map[string]Order{"s": {at("b"): o}}) }
	for _, tt := range []struct {
		order Order
		keeps string
	}{
		{Order{State: Drain}, "b"}, {Order{Weight: ptr(0)}, "b"}, {Order{State: Maint}, "a"}, {Order{State: Ready}, "b"},
		{Order{State: Drain, Until: time.Now().Add(-time.Second)}, "a"}, {Order{State: Drain, Until: time.Now().Add(time.Hour)}, "b"},
	} {
		order(tt.order)
		for range 3 {
			server := one(t, s, tag)
			if letter(server) != tt.keeps {
				t.Errorf("%+v: a client of b is sent to %s", tt.order, letter(server))
			}
			server.Release()
		}
		if tt.order.State == Drain {
			if got := take(t, s, 6); strings.Contains(got, "b") {
				t.Errorf("%+v: new clients: %s", tt.order, got)
			}
		}
	}
	until := time.Now().Add(50 * time.Millisecond)
	order(Order{State: Drain, Until: until})
	eventually(t, "the time of those who stayed ends", func() bool {
		server := one(t, s, tag)
		defer server.Release()
		return letter(server) == "a"
	})
	if time.Now().Before(until) {
		t.Error("it ended too soon")
	}
}

func TestStickyCookie(t *testing.T) {
	off := false
	_, s := pool(t, Config{Servers: named("a"), Sticky: &StickyConfig{Cookie: "srv", TTL: time.Hour, SameSite: "strict", HTTPOnly: &off}})
	k, server := s.Sticky(), s.servers[0]
	now := time.Unix(1_700_000_000, 0)
	cookie := k.Cookie(server, true, now)
	if cookie.Name != "srv" || cookie.MaxAge != 3600 || !cookie.Secure || cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" {
		t.Errorf("got %s", cookie)
	}
	if strings.Contains(cookie.Value, "127") {
		t.Errorf("the address leaks: %s", cookie.Value)
	}
	for _, tt := range []struct {
		what  string
		value string
		after time.Duration
		tag   string
		renew bool
	}{
		{"fresh", cookie.Value, 0, server.Tag(), false},
		{"half its time", cookie.Value, 31 * time.Minute, server.Tag(), true},
		{"the end", cookie.Value, time.Hour + 2*time.Second, "", false},
		{"without an end", server.Tag(), 0, "", false},
		{"another end", strings.Replace(cookie.Value, ".s", ".t", 1), 0, "", false},
		{"another signature", cookie.Value[:len(cookie.Value)-1] + "-", 0, "", false},
		{"empty", "", 0, "", false},
		{"dots", strings.Repeat(".", 45), 0, "", false},
		{"too long", cookie.Value + strings.Repeat("x", 100), 0, "", false},
	} {
		if tag, renew := k.Read(tt.value, now.Add(tt.after)); tag != tt.tag || renew != tt.renew {
			t.Errorf("%s: %q %v", tt.what, tag, renew)
		}
	}
	_, other := pool(t, Config{Servers: named("a"), Sticky: &StickyConfig{Cookie: "srv"}})
	session := other.Sticky().Cookie(other.servers[0], false, now)
	if session.MaxAge != 0 || session.Secure || !session.HttpOnly || session.SameSite != http.SameSiteLaxMode || session.Value != other.servers[0].Tag() {
		t.Errorf("by default: %s", session)
	}
}

// What strangers send as a cookie names a server that was told to them, or none.
func FuzzStickyRead(f *testing.F) {
	k := newSticky(&StickyConfig{Cookie: "c", TTL: time.Hour}, "s", []byte("key"))
	server := &Server{tag: k.tagOf("a")}
	now := time.Unix(1_700_000_000, 0)
	f.Add(k.Value(server, now))
	f.Add(server.tag + ".zzzzzz." + k.sign("x"))
	f.Add("................")
	f.Fuzz(func(t *testing.T, value string) {
		if tag, _ := k.Read(value, now); tag != "" && value != k.Value(server, now) {
			t.Errorf("%q names %q", value, tag)
		}
	})
}
