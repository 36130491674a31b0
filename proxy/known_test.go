package proxy

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// Requests that are the same in what the service hashes go to one server; others, and those that have nothing of it, are spread.
func TestRequestsAreKnownByWhatIsHashed(t *testing.T) {
	var servers []string
	for i := range 6 {
		servers = append(servers, named(t, fmt.Sprint(i)))
	}
	for name, tt := range map[string]struct {
		config upstream.Config
		set    func(r *http.Request, value string)
	}{
		"header": {upstream.Config{Balance: upstream.Hash, Hash: &upstream.HashConfig{Header: "x-user"}},
			func(r *http.Request, v string) { r.Header.Set("X-User", v) }},
		"cookie": {upstream.Config{Balance: upstream.Hash, Hash: &upstream.HashConfig{Cookie: "user"}},
			func(r *http.Request, v string) { r.Header.Set("Cookie", "a=b; user="+v+"; c=d") }},
		"query": {upstream.Config{Balance: upstream.Hash, Hash: &upstream.HashConfig{Query: "user"}},
			func(r *http.Request, v string) { r.URL.RawQuery = "x=1&user=" + v + "&y=2" }},
		"path": {upstream.Config{Balance: upstream.Hash, Hash: &upstream.HashConfig{Path: true}},
			func(r *http.Request, v string) { r.URL.Path, r.URL.RawQuery = "/"+v, fmt.Sprint(len(v)) }},
		"address": {upstream.Config{Balance: upstream.IPHash}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			c, at := r.config(servers...)
			tt.config.Servers = c.Services["web"].Servers
			c.Services["web"] = tt.config
			r.apply(c)
			b := client(t, false)
			ask := func(value string) string {
				req, _ := http.NewRequest("GET", "http://"+at+"/", nil)
				if tt.set != nil {
					tt.set(req, value)
				}
				res, err := b.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				text := make([]byte, 1)
				res.Body.Read(text)
				return string(text)
			}
			seen := map[string]bool{}
			for i := range 40 {
				value := fmt.Sprint("v", i)
				first := ask(value)
				for range 3 {
					want(t, "server of "+value, ask(value), first)
				}
				seen[first] = true
			}
			if tt.set == nil {
				want(t, "servers of one address", len(seen), 1)
				return
			}
			want(t, "servers of many values", len(seen), 6)
			if name == "path" {
				return
			}
			seen = map[string]bool{}
			tt.set = nil
			for range 100 {
				seen[ask("")] = true
			}
			want(t, "servers of requests that have none", len(seen), 6)
		})
	}
}

// A node prefers the servers of its own zone as long as they have the capacity.
func TestServersOfTheOwnZoneFirst(t *testing.T) {
	r := start(t, func(o *Options) { o.Zone = "b" })
	c, at := r.config(named(t, "far"), named(t, "near"))
	s := c.Services["web"]
	s.Servers[0].Zone, s.Servers[1].Zone = "a", "b"
	for _, prefer := range []bool{false, true} {
		s.PreferZone = prefer
		c.Services["web"] = s
		r.apply(c)
		far := 0
		for range 20 {
			if _, text := get(t, client(t, false), "http://"+at); text == "far" {
				far++
			}
		}
		want(t, fmt.Sprintf("requests to the other zone, prefer_zone: %v", prefer), far, map[bool]int{false: 10, true: 0}[prefer])
	}
	r.p.SetOrders(map[string]map[string]upstream.Order{"web": {s.Servers[1].Address: {State: upstream.Maint}}})
	if _, text := get(t, client(t, false), "http://"+at); text != "far" {
		t.Errorf("with none of its own zone: %s", text)
	}
}

// A client gets its cookie once, and again when half of its time is over; it stays on its server while that drains, on every node, and is sent elsewhere,
// with another cookie, when the server is gone.
func TestStickyClients(t *testing.T) {
	one, two := named(t, "one"), named(t, "two")
	first, second := start(t), start(t)
	c, at := first.config(one, two)
	s := c.Services["web"]
	s.Sticky = &upstream.StickyConfig{Cookie: "srv", TTL: time.Hour, SameSite: "strict"}
	c.Services["web"] = s
	first.apply(c)
	c2, at2 := second.config(one, two)
	c2.Services["web"] = s
	second.apply(c2)
	b := client(t, false)
	ask := func(at, cookie string) (text string, set *http.Cookie) {
		t.Helper()
		req, _ := http.NewRequest("GET", "http://"+at, nil)
		if cookie != "" {
			req.Header.Set("Cookie", "srv="+cookie)
		}
		res, err := b.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		for _, set = range res.Cookies() {
		}
		return string(body), set
	}
	server, set := ask(at, "")
	if set == nil || set.MaxAge != 3600 || !set.HttpOnly || set.SameSite != http.SameSiteStrictMode || set.Secure {
		t.Fatalf("cookie: %v", set)
	}
	address := map[string]string{"one": one, "two": two}[server]
	for range 6 {
		for _, node := range []string{at, at2} {
			text, again := ask(node, set.Value)
			if text != server || again != nil {
				t.Errorf("got %s, want %s; set %v", text, server, again)
			}
		}
	}
	first.p.SetOrders(map[string]map[string]upstream.Order{"web": {address: {State: upstream.Drain}}})
	if text, again := ask(at, set.Value); text != server || again != nil {
		t.Errorf("draining: got %s, set %v", text, again)
	}
	if text, _ := ask(at, ""); text == server {
		t.Error("a draining server gets a new client")
	}
	first.p.SetOrders(map[string]map[string]upstream.Order{"web": {address: {State: upstream.Maint}}})
	if text, again := ask(at, set.Value); text == server || again == nil || again.Value == set.Value {
		t.Errorf("in maintenance: got %s, set %v", text, again)
	}
	if text, again := ask(at, set.Value[:len(set.Value)-1]+"x"); again == nil {
		t.Errorf("a forged cookie: got %s, and no other cookie", text)
	}
}
