package proxy

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"tripod/proxy/web/rule"
)

func bcryptHash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestAllowAndDeny(t *testing.T) {
	var reached atomic.Int32
	change := func(c *Config) {
		route := func(path string, allow, deny []string) RouteConfig {
			return RouteConfig{Path: path, Service: "web", Rules: rule.Config{Allow: allow, Deny: deny}}
		}
		c.Routes = []RouteConfig{
			route("/in", []string{"127.0.0.0/8", "2001:db8::/32"}, nil),
			route("/out", []string{"10.0.0.0/8"}, nil),
			route("/denied", nil, []string{"127.0.0.1"}),
			route("/both", []string{"127.0.0.0/8"}, []string{"127.0.0.1/32"}),
			route("/others", nil, []string{"10.0.0.0/8", "::/0"}),
			{Path: "/answer", Rules: rule.Config{Respond: &rule.RespondConfig{Body: "x"}, Deny: []string{"0.0.0.0/0"}}},
			{Path: "/redirect", Redirect: "https://new.test", Rules: rule.Config{Deny: []string{"0.0.0.0/0"}}},
		}
	}
	server := func(http.ResponseWriter, *http.Request) { reached.Add(1) }
	everyWay(t, server, change, func(t *testing.T, w *way) {
		for path, status := range map[string]int{
			"/in": 200, "/others": 200, "/out": 403, "/denied": 403, "/both": 403, "/answer": 403, "/redirect": 403,
		} {
			before := reached.Load()
			a := w.do(t, "GET", path, "")
			want(t, path, a.StatusCode, status)
			want(t, path+" at the server", reached.Load() > before, status == 200)
			if status == 403 && !strings.HasPrefix(a.text, "403 Forbidden: ") {
				t.Errorf("%s: %q", path, a.text)
			}
		}
	})
}

// The listener has both families, so that an IPv4 client may come as ::ffff:127.0.0.1.
func TestAllowAndDenyByIPv6(t *testing.T) {
	if ln, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here: ", err)
	} else {
		ln.Close()
	}
	r := start(t, onNetwork)
	config, at := r.config(named(t, "in"))
	_, port, _ := net.SplitHostPort(at)
	config.Routes = []RouteConfig{
		{Path: "/six", Service: "web", Rules: rule.Config{Allow: []string{"::1"}}},
		{Path: "/four", Service: "web", Rules: rule.Config{Allow: []string{"127.0.0.0/8"}}},
		{Path: "/notfour", Service: "web", Rules: rule.Config{Deny: []string{"0.0.0.0/0"}}},
	}
	r.apply(config)
	for host, statuses := range map[string][3]int{"[::1]": {200, 403, 200}, "127.0.0.1": {403, 200, 403}} {
		for i, path := range []string{"/six", "/four", "/notfour"} {
			status, _ := get(t, client(t, false), "http://"+host+":"+port+path)
			want(t, host+path, status, statuses[i])
		}
	}
}

func TestBasicAuth(t *testing.T) {
	var reached atomic.Int32
	users := map[string]string{"alice": bcryptHash(t, "right"), "bob": bcryptHash(t, "pass:word ü")}
	change := withRules(rule.Config{BasicAuth: &rule.BasicAuthConfig{Realm: `The "Staff"`, Users: users}})
	server := func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		dump(w, r)
	}
	everyWay(t, server, change, func(t *testing.T, w *way) {
		right := basic("alice", "right")
		for _, tt := range []struct {
			name   string
			fields []string
			in     bool
		}{
			{"none", nil, false},
			{"right", []string{"Authorization", right}, true},
			{"right again", []string{"Authorization", right}, true},
			{"scheme in capitals", []string{"Authorization", strings.Replace(right, "Basic", "BASIC", 1)}, true},
			{"another user", []string{"Authorization", basic("bob", "pass:word ü")}, true},
			{"wrong", []string{"Authorization", basic("alice", "wrong")}, false},
			{"another's password", []string{"Authorization", basic("bob", "right")}, false},
			{"unknown user", []string{"Authorization", basic("eve", "right")}, false},
			{"bearer", []string{"Authorization", "Bearer " + right}, false},
			{"garbage", []string{"Authorization", "Basic %%%"}, false},
			{"two", []string{"Authorization", right, "Authorization", right}, false},
			{"a wrong one before", []string{"Authorization", basic("alice", "wrong"), "Authorization", right}, false},
		} {
			before := reached.Load()
			a := w.do(t, "GET", "/", "", tt.fields...)
			want(t, tt.name+" at the server", reached.Load() > before, tt.in)
			if tt.in {
				want(t, tt.name, a.StatusCode, 200)
				continue
			}
			want(t, tt.name, a.StatusCode, 401)
			want(t, tt.name+": challenge", a.Header.Get("WWW-Authenticate"), `Basic realm="The \"Staff\"", charset="UTF-8"`)
		}
	})
}

// A password that was right costs bcrypt's time once, whatever else of the document changes; a changed hash counts at once.
func TestRightPasswordsAreRememberedOverApply(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "in"))
	auth := func(hash string) {
		config.Routes = []RouteConfig{{Service: "web", Rules: rule.Config{BasicAuth: &rule.BasicAuthConfig{Users: map[string]string{"alice": hash}}}}}
		r.apply(config)
	}
	status := func(password string) string {
		text := raw(t, at, fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\nConnection: close\r\n\r\n", basic("alice", password)))
		return text[len("HTTP/1.1 "):][:3]
	}
	hash := bcryptHash(t, "right")
	auth(hash)
	want(t, "first", status("right"), "200")
	want(t, "remembered", r.p.passwords.Remembered(), 1)
	for range 3 {
		auth(hash)
		want(t, "again", status("right"), "200")
	}
	want(t, "remembered still", r.p.passwords.Remembered(), 1)
	want(t, "wrong", status("wrong"), "401")
	auth(bcryptHash(t, "new"))
	want(t, "former password", status("right"), "401")
	want(t, "new password", status("new"), "200")
}
