package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

func TestForwardedFields(t *testing.T) {
	change := func(c *Config) {
		c.Routes = nil
		for _, how := range []string{"", "x_forwarded", "forwarded", "both"} {
			c.Routes = append(c.Routes, RouteConfig{Path: "/as/" + how, Service: "web", Rules: rule.Config{Forwarded: how}})
		}
	}
	everyWay(t, dump, change, func(t *testing.T, w *way) {
		scheme := strings.TrimSuffix(w.url, "://"+w.at)
		for how, sent := range map[string]struct{ x, standard bool }{
			"": {true, false}, "x_forwarded": {true, false}, "forwarded": {false, true}, "both": {true, true},
		} {
			a := w.do(t, "GET", "/as/"+how, "", "Host", "shop.test:1", "Forwarded", "for=6.6.6.6;proto=gopher", "X-Forwarded-For", "6.6.6.6",
				"X-Forwarded-Anything", "evil")
			x, standard := "", ""
			if sent.x {
				x = "127.0.0.1"
			}
			if sent.standard {
				standard = `for=127.0.0.1;host="shop.test:1";proto=` + scheme
			}
			want(t, how+": X-Forwarded-For", field(a.text, "X-Forwarded-For"), x)
			want(t, how+": X-Forwarded-Proto", field(a.text, "X-Forwarded-Proto") == scheme, sent.x)
			want(t, how+": X-Forwarded-Host", field(a.text, "X-Forwarded-Host") == "shop.test:1", sent.x)
			want(t, how+": Forwarded", field(a.text, "Forwarded"), standard)
			if strings.Contains(a.text, "6.6.6.6") || strings.Contains(a.text, "evil") {
				t.Errorf("%s: what the client said got through: %s", how, a.text)
			}
			if field(a.text, "X-Request-Id") == "" {
				t.Errorf("%s: no request id", how)
			}
		}
	})
}

// behind is a way whose client is a trusted proxy.
func behind(c *Config) {
	l := c.Listeners["http"]
	l.TrustedProxies = []string{"127.0.0.0/8", "10.0.0.0/8", "2001:db8:1::/48"}
	c.Listeners["http"] = l
	c.Routes = []RouteConfig{
		{Path: "/", Service: "web"},
		{Path: "/inside", Service: "web", Rules: rule.Config{Allow: []string{"192.0.2.0/24", "2001:db8:2::/48"}}},
	}
}

func TestTrustedProxiesTellTheClient(t *testing.T) {
	everyWay(t, dump, behind, func(t *testing.T, w *way) {
		own := strings.TrimSuffix(w.url, "://"+w.at)
		for i, tt := range []struct {
			name          string
			fields        []string
			client, chain string
			proto         string
		}{
			{"nothing said", nil, "127.0.0.1", "127.0.0.1", own},
			{"one", []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https"}, "192.0.2.1", "192.0.2.1, 127.0.0.1", "https"},
			{"with a port", []string{"X-Forwarded-For", "192.0.2.1:1234"}, "192.0.2.1", "192.0.2.1, 127.0.0.1", own},
			{"IPv6", []string{"X-Forwarded-For", "2001:db8:2::7"}, "2001:db8:2::7", "2001:db8:2::7, 127.0.0.1", own},
			{"a chain", []string{"X-Forwarded-For", "192.0.2.1, 10.1.1.1, 2001:db8:1::1"}, "192.0.2.1", "192.0.2.1, 127.0.0.1", own},
			{"over lines", []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "10.1.1.1"}, "192.0.2.1", "192.0.2.1, 127.0.0.1", own},
			{"a client that lies", []string{"X-Forwarded-For", "192.0.2.9, 198.51.100.1"}, "198.51.100.1", "198.51.100.1, 127.0.0.1", own},
			{"garbage", []string{"X-Forwarded-For", "192.0.2.1, what"}, "127.0.0.1", "127.0.0.1", own},
			{"garbage before a proxy", []string{"X-Forwarded-For", "what, 10.1.1.1"}, "10.1.1.1", "10.1.1.1, 127.0.0.1", own},
			{"unknown scheme", []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "gopher"}, "192.0.2.1", "192.0.2.1, 127.0.0.1", own},
			{"the standard", []string{"Forwarded", `for="[2001:db8:2::7]:99";proto=https, for=10.0.0.1;proto=http`}, "2001:db8:2::7", "2001:db8:2::7, 127.0.0.1", "https"},
			{"both", []string{"Forwarded", "for=198.51.100.7", "X-Forwarded-For", "192.0.2.1"}, "192.0.2.1", "192.0.2.1, 127.0.0.1", own},
		} {
			path := fmt.Sprintf("/inside/%d", i)
			a := w.do(t, "GET", fmt.Sprintf("/%d", i), "", tt.fields...)
			want(t, tt.name+": address", field(a.text, "X-Forwarded-For"), tt.chain)
			want(t, tt.name+": scheme", field(a.text, "X-Forwarded-Proto"), tt.proto)
			w.logged(t, fmt.Sprintf(`"path":"/%d"`, i), `"client":"`+tt.client+`"`)
			status := 403
			if strings.HasPrefix(tt.client, "192.0.2.") || strings.HasPrefix(tt.client, "2001:db8:2:") {
				status = 200
			}
			want(t, tt.name+": let in", w.do(t, "GET", path, "", tt.fields...).StatusCode, status)
		}
	})
}

func TestOthersAreNotBelieved(t *testing.T) {
	change := func(c *Config) {
		behind(c)
		l := c.Listeners["http"]
		l.TrustedProxies = []string{"10.0.0.0/8"}
		c.Listeners["http"] = l
	}
	everyWay(t, dump, change, func(t *testing.T, w *way) {
		fields := []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "gopher", "Forwarded", "for=192.0.2.1"}
		a := w.do(t, "GET", "/", "", fields...)
		want(t, "address", field(a.text, "X-Forwarded-For"), "127.0.0.1")
		want(t, "scheme", field(a.text, "X-Forwarded-Proto"), strings.TrimSuffix(w.url, "://"+w.at))
		want(t, "let in", w.do(t, "GET", "/inside", "", fields...).StatusCode, 403)
		w.logged(t, `"client":"127.0.0.1"`)
	})
}

func TestStickyCookieIsSecureByTheClientsScheme(t *testing.T) {
	change := func(c *Config) {
		behind(c)
		s := c.Services["web"]
		s.Sticky = &upstream.StickyConfig{Cookie: "srv"}
		c.Services["web"] = s
	}
	everyWay(t, dump, change, func(t *testing.T, w *way) {
		for _, scheme := range []string{"http", "https"} {
			a := w.do(t, "GET", "/", "", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", scheme)
			cookies := a.Cookies()
			if len(cookies) != 1 {
				t.Fatalf("cookies: %v", cookies)
			}
			want(t, scheme, cookies[0].Secure, scheme == "https")
			// The same client stays, wherever its connection comes from.
			again := w.do(t, "GET", "/", "", "Cookie", "a=b; srv="+cookies[0].Value)
			want(t, "set again", len(again.Cookies()), 0)
		}
	})
}

func TestForwardedInOfTrustedProxyIsTold(t *testing.T) {
	change := func(c *Config) {
		behind(c)
		c.Routes[0].Rules.Forwarded = "both"
		c.Routes[0].Rules.RequestHeaders = &rule.HeadersConfig{Set: map[string]string{"X-Who": "{client}"}}
	}
	everyWay(t, dump, change, func(t *testing.T, w *way) {
		a := w.do(t, "GET", "/", "", "Host", "a.test", "X-Forwarded-For", "2001:db8:2::7", "X-Forwarded-Proto", "https")
		want(t, "Forwarded", field(a.text, "Forwarded"), `for="[2001:db8:2::7]";host=a.test;proto=https`)
		want(t, "placeholder", field(a.text, "X-Who"), "2001:db8:2::7")
	})
}

func TestAccessLogIsSampled(t *testing.T) {
	r := start(t)
	config, at := r.config(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(503)
		}
	}))
	config.AccessLog = 1_000_000_000
	r.apply(config)
	c := client(t, false)
	for range 200 {
		get(t, c, "http://"+at+"/good")
	}
	for range 50 {
		get(t, c, "http://"+at+"/bad")
	}
	eventually(t, "every failure in the log", func() bool { return strings.Count(r.access.String(), `"status":503`) == 50 })
	want(t, "good ones", strings.Count(r.access.String(), "/good"), 0)
	config.AccessLog = 4
	r.apply(config)
	for range 400 {
		get(t, c, "http://"+at+"/fourth")
	}
	// A hundred are to be expected; less than 20 or more than 300 come once in the age of the universe.
	if n := strings.Count(r.access.String(), "/fourth"); n < 20 || n > 300 {
		t.Errorf("%d of 400 were logged", n)
	}
}
