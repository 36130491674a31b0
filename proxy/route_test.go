package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"tripod/proxy/upstream"
)

// ask sends a request for a host and path as they are.
func ask(t *testing.T, c *http.Client, scheme, at, host, target string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest("GET", scheme+"://"+at, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.URL.Opaque = target
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b), res.Header
}

func TestRoutes(t *testing.T) {
	r := start(t)
	config, at := r.config()
	config.Services = map[string]upstream.Config{}
	for _, name := range []string{"exact", "exactapi", "wild", "wilddeep", "any", "anydocs"} {
		config.Services[name] = service(named(t, name))
	}
	config.Routes = []RouteConfig{
		{Path: "/any", Service: "any"},
		{Path: "/docs/", Service: "anydocs"},
		{Host: "*.example.com", Path: "/w", Service: "wild"},
		{Host: "*.example.com", Path: "/w/deep", Service: "wilddeep"},
		{Host: "Shop.example.com.", Path: "/api", Service: "exactapi"},
		{Host: "shop.example.com", Path: "/s", Service: "exact"},
	}
	r.apply(config)
	c := client(t, false)
	for _, tt := range []struct{ host, target, want string }{
		{"shop.example.com", "/api", "exactapi"},
		{"SHOP.example.com.:1234", "/api/x?y", "exactapi"},
		{"shop.example.com", "/apix", "404"},
		{"shop.example.com", "/s/../api/x", "exactapi"},
		{"shop.example.com", "/s/%2e%2e/api/x", "exactapi"},
		{"shop.example.com", "/s%2f..%2fapi", "exactapi"},
		{"shop.example.com", "/w", "wild"},    // the exact host has no such path
		{"shop.example.com", "/any/x", "any"}, // nor has the wildcard
		{"x.example.com", "/w/deep/er", "wilddeep"},
		{"a.b.example.com", "/w", "404"}, // one label
		{"example.com", "/w", "404"},
		{"other.test", "/docs", "404"},
		{"other.test", "/docs/", "anydocs"},
		{"other.test", "/docs/x", "anydocs"},
	} {
		status, body, head := ask(t, c, "http", at, tt.host, tt.target)
		if tt.want == "404" {
			if status != 404 || !strings.Contains(body, "\nrequest id: "+head.Get("X-Request-Id")) {
				t.Errorf("%s%s: got %d %q, want a 404 page", tt.host, tt.target, status, body)
			}
		} else if body != tt.want {
			t.Errorf("%s%s: got %d %q, want %s", tt.host, tt.target, status, body, tt.want)
		}
	}
}

func TestRedirects(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "web"))
	tlsPort := r.port()
	config.Listeners["http"] = ListenerConfig{Address: config.Listeners["http"].Address, RedirectHTTPS: true}
	config.Listeners["b-https"] = ListenerConfig{Address: fmt.Sprintf(":%d", tlsPort), TLS: true}
	config.Listeners["c-https"] = ListenerConfig{Address: fmt.Sprintf(":%d", r.port()), TLS: true}
	config.Routes = []RouteConfig{
		{Service: "web"},
		{Host: "old.test", Redirect: "https://new.test"},
		{Host: "old.test", Path: "/fix", Redirect: "https://new.test/there"},
	}
	r.apply(config)
	c := client(t, false)
	for _, tt := range []struct{ host, target, want string }{
		{"a.test", "/x%20y?z=1", fmt.Sprintf("https://a.test:%d/x%%20y?z=1", tlsPort)},
		{"a.test:80", "/", fmt.Sprintf("https://a.test:%d/", tlsPort)},
		{"[::1]:80", "/", fmt.Sprintf("https://[::1]:%d/", tlsPort)},
	} {
		status, _, head := ask(t, c, "http", at, tt.host, tt.target)
		want(t, tt.host, status, 308)
		want(t, tt.host, head.Get("Location"), tt.want)
	}
	for _, bad := range []string{"a.test/evil", "a@b", "a..b", "a.test:x", "-", "a.test:99999"} {
		got := raw(t, at, "GET / HTTP/1.1\r\nHost: "+bad+"\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Contains(got, "Location") {
			t.Errorf("host %q: %q", bad, got)
		}
	}
	secure := fmt.Sprintf("%s:%d", r.local, tlsPort)
	for target, location := range map[string]string{"/a?b": "https://new.test/a?b", "/fix/x?y": "https://new.test/there"} {
		status, _, head := ask(t, c, "https", secure, "old.test", target)
		want(t, target, status, 308)
		want(t, target, head.Get("Location"), location)
	}
	config.Listeners["b-https"] = ListenerConfig{Address: "127.61.255.1:443", TLS: true}
	if err := r.p.Apply(t.Context(), config); err != nil {
		t.Skip("port 443 cannot be bound here: ", err)
	}
	_, _, head := ask(t, c, "http", at, "a.test", "/")
	want(t, "default port", head.Get("Location"), "https://a.test/")
}

func TestHTTP2OverTLS(t *testing.T) {
	r := start(t)
	config, at := r.config(backend(t, dump))
	l := config.Listeners["http"]
	l.TLS = true
	config.Listeners["http"] = l
	r.apply(config)
	c := client(t, true)
	status, body := get(t, c, "https://"+at+"/x")
	want(t, "status", status, 200)
	if !strings.Contains(body, "X-Forwarded-Proto: https\r") || !strings.HasPrefix(body, "GET /x HTTP/1.1\n") {
		t.Errorf("server got %s", body)
	}
	eventually(t, "the protocol in the log", func() bool { return strings.Contains(r.access.String(), `"protocol":"HTTP/2.0"`) })

	conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.WriteSettings()
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
			n, _ := s.Value(http2.SettingMaxConcurrentStreams)
			want(t, "streams", n, 250)
			break
		}
	}
}

func TestTicketKeysRotatedOnTheConfigAreUsed(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "x"))
	l := config.Listeners["http"]
	l.TLS = true
	config.Listeners["http"] = l
	r.apply(config)
	var key [32]byte
	r.p.opts.TLS.SetSessionTicketKeys([][32]byte{key})
	cache := tls.NewLRUClientSessionCache(1)
	dial := func() bool {
		c, err := tls.Dial("tcp", at, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, ClientSessionCache: cache})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		io.ReadAll(c)
		return c.ConnectionState().DidResume
	}
	want(t, "first", dial(), false)
	want(t, "second", dial(), true)
	key[0] = 1
	r.p.opts.TLS.SetSessionTicketKeys([][32]byte{key})
	want(t, "after rotation", dial(), false)
}

func TestSticky(t *testing.T) {
	r := start(t)
	config, at := r.config()
	a, b := named(t, "a"), named(t, "b")
	s := service(a, b)
	s.Sticky = &upstream.StickyConfig{Cookie: "srv"}
	config.Services["web"] = s
	secure := fmt.Sprintf(":%d", r.port())
	config.Listeners["https"] = ListenerConfig{Address: secure, TLS: true}
	r.apply(config)
	c := client(t, false)
	send := func(url string, cookie *http.Cookie) (string, *http.Cookie) {
		req, _ := http.NewRequest("GET", url, nil)
		if cookie != nil {
			req.AddCookie(cookie)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if list := res.Cookies(); len(list) > 0 {
			return string(body), list[0]
		}
		return string(body), nil
	}
	first, cookie := send("http://"+at, nil)
	if cookie == nil || cookie.Name != "srv" || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Secure {
		t.Fatalf("cookie: %v", cookie)
	}
	if strings.Contains(cookie.Value, "127") {
		t.Errorf("cookie %q", cookie.Value)
	}
	for range 5 {
		body, again := send("http://"+at, cookie)
		want(t, "server", body, first)
		if again != nil {
			t.Errorf("set again: %v", again)
		}
	}
	if _, secureCookie := send("https://"+r.local.String()+secure, nil); secureCookie == nil || !secureCookie.Secure {
		t.Errorf("over TLS: %v", secureCookie)
	}
	// Its server leaves: another one takes over, and says so.
	other := map[string]string{"a": b, "b": a}[first]
	s.Servers = []upstream.ServerConfig{{Address: other}}
	config.Services["web"] = s
	r.apply(config)
	body, moved := send("http://"+at, cookie)
	if body == first || moved == nil || moved.Value == cookie.Value {
		t.Errorf("fallback: %q %v", body, moved)
	}
	if body, again := send("http://"+at, &http.Cookie{Name: "srv", Value: "forged"}); body == "" || again == nil {
		t.Errorf("forged: %q %v", body, again)
	}
}
