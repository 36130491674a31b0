package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

func TestHeaderRules(t *testing.T) {
	change := func(c *Config) {
		s := c.Services["web"]
		s.Rules.RequestHeaders = &rule.HeadersConfig{
			Set:    map[string]string{"X-Level": "service", "X-Service": "of {listener}", "X-Real-Ip": "{client}"},
			Remove: []string{"X-Secret", "Cookie"},
		}
		s.Rules.ResponseHeaders = &rule.HeadersConfig{
			Set:    map[string]string{"X-Level": "service", "X-Id": "{id}"},
			Remove: []string{"Server", "X-Powered-By"},
		}
		c.Services["web"] = s
		c.Routes[0].Rules.RequestHeaders = &rule.HeadersConfig{
			Set: map[string]string{"X-Level": "route", "X-Where": "{client} {host} {path} {{id}}", "X-Id": "{id}"},
			Add: map[string]string{"X-Many": "mine"},
		}
		c.Routes[0].Rules.ResponseHeaders = &rule.HeadersConfig{
			Set: map[string]string{"X-Level": "route"}, Add: map[string]string{"X-Service": "too"},
		}
	}
	server := func(w http.ResponseWriter, r *http.Request) {
		for _, f := range []string{"Server", "X-Powered-By", "X-Level", "X-Service"} {
			w.Header().Set(f, "server's")
		}
		dump(w, r)
	}
	everyWay(t, server, change, func(t *testing.T, w *way) {
		a := w.do(t, "GET", "/a/b?secret", "", "Host", "Shop.test", "X-Level", "clients", "X-Level", "again", "X_Level", "third", "X-Many", "one",
			"X-Secret", "x", "x_secret", "x", "Cookie", "a=b", "X-Real-Ip", "6.6.6.6")
		id := a.Header.Get("X-Request-Id")
		for name, value := range map[string]string{
			"X-Level": "route", "X-Service": "of http", "X-Real-Ip": "127.0.0.1", "X-Where": "127.0.0.1 Shop.test /a/b {id}", "X-Id": id, "X-Request-Id": id,
		} {
			want(t, "server: "+name, field(a.text, name), value)
		}
		if strings.Count(a.text, "X-Many: ") != 2 || !strings.Contains(a.text, "X-Many: one\r\n") || !strings.Contains(a.text, "X-Many: mine\r\n") {
			t.Errorf("added field: %s", a.text)
		}
		for _, gone := range []string{"ecret", "Cookie", "clients", "again", "third", "6.6.6.6"} {
			if _, fields, _ := strings.Cut(a.text, "\n"); strings.Contains(fields, gone) {
				t.Errorf("the server got %s: %s", gone, a.text)
			}
		}
		want(t, "client: X-Level", strings.Join(a.Header.Values("X-Level"), ","), "route")
		want(t, "client: X-Id", a.Header.Get("X-Id"), id)
		want(t, "client: X-Service", strings.Join(a.Header.Values("X-Service"), ","), "server's,too")
		want(t, "client: removed", a.Header.Get("Server")+a.Header.Get("X-Powered-By"), "")
	})
}

func TestHostIsReplacedForTheServerOnly(t *testing.T) {
	change := withRules(rule.Config{Common: rule.Common{RequestHeaders: &rule.HeadersConfig{Set: map[string]string{"Host": "api.internal:81"}}}})
	everyWay(t, dump, change, func(t *testing.T, w *way) {
		a := w.do(t, "GET", "/", "", "Host", "shop.test")
		want(t, "Host", field(a.text, "Host"), "api.internal:81")
		want(t, "X-Forwarded-Host", field(a.text, "X-Forwarded-Host"), "shop.test")
		w.logged(t, `"host":"shop.test"`)
	})
}

func TestPathRules(t *testing.T) {
	change := func(c *Config) {
		c.Routes = []RouteConfig{
			{Path: "/", Service: "web"},
			{Path: "/api/", Service: "web", Rules: rule.Config{StripPrefix: true}},
			{Path: "/old", Service: "web", Rules: rule.Config{Rewrite: "/new/v2"}},
			{Path: "/sp ace", Service: "web", Rules: rule.Config{StripPrefix: true}},
			{Path: "/root", Service: "web", Rules: rule.Config{Rewrite: "/"}},
		}
	}
	everyWay(t, dump, change, func(t *testing.T, w *way) {
		for _, tt := range []struct{ target, sees, prefix string }{
			{"/api/x?a=/api/b", "/x?a=/api/b", "/api"},
			{"/api/", "/", "/api"},
			{"/api/?", "/?", "/api"},
			{"/api", "/api", ""}, // another route's
			{"/api/a%2Fb%20c", "/a%2Fb%20c", "/api"},
			{"/%61pi/x", "/x", "/api"},
			{"/api%2Fx", "/x", "/api"},
			{"/x/../api/y/./z", "/y/z", "/api"},
			{"/api/../../api/%2e%2e/api/x", "/x", "/api"},
			{"/api//evil.test/x", "/evil.test/x", "/api"},
			{"/api/../secret", "/api/../secret", ""}, // leads to the first route, as it came
			{"/old", "/new/v2", ""},
			{"/old/x/y?q", "/new/v2/x/y?q", ""},
			{"/older", "/older", ""},
			{"/root/a", "/a", ""},
			{"/sp%20ace/x", "/x", "/sp%20ace"},
		} {
			a := w.do(t, "GET", tt.target, "")
			_, rest, _ := strings.Cut(a.text, " ")
			sees, _, _ := strings.Cut(rest, " ")
			want(t, tt.target, sees, tt.sees)
			want(t, tt.target+": prefix", field(a.text, "X-Forwarded-Prefix"), tt.prefix)
		}
	})
}

func TestRedirectsWithEveryStatus(t *testing.T) {
	for _, status := range []int{0, 301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := start(t)
			config, at := r.config(named(t, "x"))
			config.Routes = []RouteConfig{
				{Path: "/kept", Redirect: "https://new.test", Rules: rule.Config{Status: status, Common: rule.Common{
					ResponseHeaders: &rule.HeadersConfig{Set: map[string]string{"X-Own": "{path}"}}}}},
				{Path: "/fixed", Redirect: "https://new.test/there?x=1", Rules: rule.Config{Status: status}},
			}
			r.apply(config)
			if status == 0 {
				status = 308
			}
			for target, location := range map[string]string{
				"/kept/a%2Fb?q=1": "https://new.test/kept/a%2Fb?q=1", "/fixed/a?q=1": "https://new.test/there?x=1",
			} {
				code, text, head := ask(t, client(t, false), "http", at, "old.test", target)
				want(t, "status", code, status)
				want(t, "location", head.Get("Location"), location)
				if !strings.Contains(text, location) {
					t.Errorf("text %q", text)
				}
				if strings.HasPrefix(target, "/kept") {
					want(t, "own field", head.Get("X-Own"), "/kept/a%2Fb")
				}
			}
		})
	}
}

func TestFixedAnswers(t *testing.T) {
	change := func(c *Config) {
		answer := func(path string, a rule.RespondConfig) RouteConfig {
			return RouteConfig{Path: path, Rules: rule.Config{Respond: &a}}
		}
		c.Routes = []RouteConfig{
			answer("/text", rule.RespondConfig{Body: "ok\n", Headers: map[string]string{"X-Own": "{id}"}}),
			answer("/html", rule.RespondConfig{Status: 404, Body: "<p>none</p>"}),
			answer("/json", rule.RespondConfig{Status: 503, Body: `{"up": false}`}),
			answer("/typed", rule.RespondConfig{Body: "a,b", ContentType: "text/csv"}),
			answer("/empty", rule.RespondConfig{Status: 204}),
			answer("/robots", rule.RespondConfig{Body: strings.Repeat("x", 100_000)}),
		}
	}
	everyWay(t, nil, change, func(t *testing.T, w *way) {
		for _, tt := range []struct {
			target string
			status int
			kind   string
			body   string
		}{
			{"/text", 200, "text/plain; charset=utf-8", "ok\n"},
			{"/html", 404, "text/html; charset=utf-8", "<p>none</p>"},
			{"/json", 503, "application/json", `{"up": false}`},
			{"/typed", 200, "text/csv", "a,b"},
			{"/empty", 204, "", ""},
			{"/robots", 200, "text/plain; charset=utf-8", strings.Repeat("x", 100_000)},
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "GET"} {
				content := ""
				if method == "POST" {
					content = "nobody reads this"
				}
				a := w.do(t, method, tt.target, content)
				want(t, method+tt.target, a.StatusCode, tt.status)
				want(t, method+tt.target+": type", a.Header.Get("Content-Type"), tt.kind)
				body, length := tt.body, fmt.Sprint(len(tt.body))
				if method == "HEAD" {
					body = ""
				}
				if tt.status == 204 {
					length = ""
				}
				want(t, method+tt.target+": length", a.Header.Get("Content-Length"), length)
				if a.text != body || a.err != nil {
					t.Errorf("%s %s: %.50q, %v", method, tt.target, a.text, a.err)
				}
				if tt.target == "/text" {
					want(t, "own field", a.Header.Get("X-Own"), a.Header.Get("X-Request-Id"))
				}
			}
		}
	})
}

func TestErrorPagesOfRoutes(t *testing.T) {
	pages := map[string]string{"502": "<h1>{id} is no placeholder here</h1>", "5xx": "Sorry.", "4xx": `{"error": 4}`, "401": "Who are you?"}
	hash := bcryptHash(t, "right")
	change := func(c *Config) {
		with := func(route RouteConfig) RouteConfig {
			route.Rules.ErrorPages = pages
			return route
		}
		size := rule.Size(3)
		c.Services["dead"] = service(deadAddress(t))
		c.Services["slow"] = service(rawBackend(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
		none := 0
		c.Services["none"] = upstream.Config{Servers: []upstream.ServerConfig{{Address: deadAddress(t), Weight: &none}}}
		c.Routes = []RouteConfig{
			with(RouteConfig{Path: "/dead", Service: "dead"}),
			with(RouteConfig{Path: "/none", Service: "none"}),
			with(RouteConfig{Path: "/slow", Service: "slow", Rules: rule.Config{Common: rule.Common{Timeouts: &rule.TimeoutsConfig{FirstByte: ms(50)}}}}),
			with(RouteConfig{Path: "/denied", Service: "web", Rules: rule.Config{Deny: []string{"127.0.0.0/8"}}}),
			with(RouteConfig{Path: "/asked", Service: "web", Rules: rule.Config{BasicAuth: &rule.BasicAuthConfig{Users: map[string]string{"a": hash}}}}),
			with(RouteConfig{Path: "/small", Service: "web", Rules: rule.Config{Common: rule.Common{MaxBody: &size}}}),
			with(RouteConfig{Path: "/own", Service: "web"}),
		}
	}
	server := func(w http.ResponseWriter, r *http.Request) { http.Error(w, "the server's own", http.StatusBadGateway) }
	everyWay(t, server, change, func(t *testing.T, w *way) {
		for _, tt := range []struct {
			target     string
			status     int
			kind, body string
		}{
			{"/dead", 502, "text/html; charset=utf-8", pages["502"]},
			{"/none", 503, "text/plain; charset=utf-8", "Sorry."},
			{"/slow", 504, "text/plain; charset=utf-8", "Sorry."},
			{"/denied", 403, "application/json", `{"error": 4}`},
			{"/asked", 401, "text/plain; charset=utf-8", "Who are you?"},
			{"/small", 413, "application/json", `{"error": 4}`},
			{"/own", 502, "text/plain; charset=utf-8", "the server's own\n"},
		} {
			a := w.do(t, "POST", tt.target, "content")
			want(t, tt.target, a.StatusCode, tt.status)
			want(t, tt.target+": type", a.Header.Get("Content-Type"), tt.kind)
			want(t, tt.target+": page", a.text, tt.body)
			if a.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s: no request id", tt.target)
			}
			head := w.do(t, "HEAD", tt.target, "")
			if tt.status != 413 {
				want(t, "HEAD "+tt.target+": type", head.Header.Get("Content-Type"), tt.kind)
				want(t, "HEAD "+tt.target+": length", head.Header.Get("Content-Length"), fmt.Sprint(len(tt.body)))
			}
		}
		a := w.do(t, "GET", "/nowhere", "")
		want(t, "no route, no page", strings.HasPrefix(a.text, "404 Not Found: "), true)
	})
}

// What a server said in an informational answer is not said again when it fails afterwards.
func TestErrorPageHasNothingOfAnEarlierAnswer(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</hint>")
		w.WriteHeader(http.StatusEarlyHints)
		panic(http.ErrAbortHandler)
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		a := w.do(t, "GET", "/", "")
		want(t, "status", a.StatusCode, 502)
		want(t, "Link", a.Header.Get("Link"), "")
	})
}
