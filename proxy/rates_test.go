package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/web/rule"
)

// limits are the rules of a route or service with rate limits only.
func limits(list ...rule.RateConfig) rule.Common { return rule.Common{RateLimits: list} }

// let is how many of n requests are let through.
func let(t *testing.T, w *way, n int, target string, fields ...string) (passed int) {
	t.Helper()
	for range n {
		switch status := w.do(t, "GET", target, "", fields...).StatusCode; status {
		case 200:
			passed++
		case 429:
		default:
			t.Fatalf("%s: status %d", target, status)
		}
	}
	return passed
}

// What is too much is answered with 429 and never reaches the server; the answer says when to come again, and is counted and logged.
func TestRateLimit(t *testing.T) {
	var reached atomic.Int32
	change := func(c *Config) {
		c.Routes = []RouteConfig{
			{Host: "", Path: "/three", Service: "web", Rules: rule.Config{Common: limits(rule.RateConfig{Rate: "2/m", Burst: 3})}},
			{Path: "/page", Service: "web", Rules: rule.Config{Common: rule.Common{
				RateLimits: []rule.RateConfig{{Rate: "1/h"}}, ErrorPages: map[string]string{"429": "<p>slowly"},
			}}},
			{Path: "/answer", Rules: rule.Config{Respond: &rule.RespondConfig{Body: "x"}, Common: limits(rule.RateConfig{Rate: "1/h"})}},
			{Path: "/free", Service: "web"},
		}
	}
	everyWay(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) }, change, func(t *testing.T, w *way) {
		reached.Store(0)
		want(t, "let through", let(t, w, 5, "/three"), 3)
		want(t, "at the server", reached.Load(), 3)
		a := w.do(t, "POST", "/three", "content")
		want(t, "status", a.StatusCode, 429)
		seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
		if err != nil || seconds < 20 || seconds > 30 {
			t.Errorf("Retry-After is %q, want up to 30 s", a.Header.Get("Retry-After"))
		}
		if !strings.HasPrefix(a.text, "429 Too Many Requests: ") || a.Header.Get("X-Request-Id") == "" {
			t.Errorf("page %q", a.text)
		}
		want(t, "let through with a page", let(t, w, 1, "/page"), 1)
		a = w.do(t, "GET", "/page", "")
		want(t, "page's status", a.StatusCode, 429)
		want(t, "page", a.text, "<p>slowly")
		if a.Header.Get("Retry-After") == "" {
			t.Error("a page has no Retry-After")
		}
		want(t, "fixed answers let through", let(t, w, 3, "/answer"), 1)
		want(t, "without a limit", let(t, w, 20, "/free"), 20)
		for route, n := range map[string]float64{"/three": 3, "/page": 1, "/answer": 2, "/free": -1} {
			want(t, "metric of "+route, w.metric("tripod_rate_limited_total", "route", route, "service", ""), n)
		}
		eventually(t, "six lines of the access log with 429", func() bool { return strings.Count(w.access.String(), `"status":429`) == 6 })
	})
}

// Who is kept out by address is not counted; who has the wrong password is.
func TestRateLimitsStandBetweenAddressAndPassword(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "in"))
	common := limits(rule.RateConfig{Rate: "1/h", Burst: 2, By: "route"})
	config.Listeners["http"] = ListenerConfig{Address: config.Listeners["http"].Address, TrustedProxies: []string{"127.0.0.0/8"}}
	config.Routes[0].Rules = rule.Config{
		Deny: []string{"10.0.0.0/8"}, BasicAuth: &rule.BasicAuthConfig{Users: map[string]string{"a": bcryptHash(t, "right")}}, Common: common,
	}
	r.apply(config)
	w := &way{rig: r, client: client(t, false), url: "http://" + at}
	for i, c := range []struct {
		from   string
		status int
	}{{"10.0.0.1", 403}, {"10.0.0.1", 403}, {"10.0.0.1", 403}, {"11.0.0.1", 401}, {"11.0.0.2", 401}, {"11.0.0.3", 429}, {"10.0.0.1", 403}} {
		want(t, fmt.Sprint(i, " from ", c.from), w.do(t, "GET", "/", "", "X-Forwarded-For", c.from).StatusCode, c.status)
	}
}

// A limit counts by client, by the value of a field, by route or by service; those of a service and its routes all hold.
func TestWhatRateLimitsCount(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "in"))
	config.Listeners["http"] = ListenerConfig{Address: config.Listeners["http"].Address, TrustedProxies: []string{"127.0.0.0/8"}}
	by := func(what string) rule.Config {
		return rule.Config{Common: limits(rule.RateConfig{Rate: "1/h", Burst: 3, By: what})}
	}
	each, whole := service(named(t, "in")), service(named(t, "in"))
	each.Rules = limits(rule.RateConfig{Rate: "1/h", Burst: 4, By: "route"})
	whole.Rules = limits(rule.RateConfig{Rate: "1/h", Burst: 4, By: "service"})
	config.Services["each"], config.Services["whole"] = each, whole
	config.Routes = []RouteConfig{
		{Path: "/client", Service: "web", Rules: by("client")},
		{Path: "/key", Service: "web", Rules: by("header:X-Api-Key")},
		{Path: "/route", Service: "web", Rules: by("route")},
		{Path: "/each1", Service: "each"}, {Path: "/each2", Service: "each"},
		{Path: "/whole1", Service: "whole"}, {Path: "/whole2", Service: "whole", Rules: by("client")},
	}
	r.apply(config)
	w := &way{rig: r, client: client(t, false), url: "http://" + at}
	const from, key = "X-Forwarded-For", "X-Api-Key"
	for _, c := range []struct {
		what   string
		want   int
		target string
		fields []string
	}{
		{"a client", 3, "/client", []string{from, "192.0.2.1"}},
		{"another client", 3, "/client", []string{from, "192.0.2.2"}},
		{"an IPv6 client", 3, "/client", []string{from, "2001:db8::1"}},
		{"its neighbour", 0, "/client", []string{from, "2001:db8::2"}},
		{"another network", 3, "/client", []string{from, "2001:db8:0:1::1"}},
		{"a key", 3, "/key", []string{key, "a"}},
		{"the same key of another client", 0, "/key", []string{"x-api-KEY", "a", from, "192.0.2.9"}},
		{"another key", 3, "/key", []string{key, "A"}},
		{"no key", 3, "/key", nil},
		{"two keys", 0, "/key", []string{key, "x", key, "y"}},
		{"an empty key", 3, "/key", []string{key, ""}},
		{"a route", 3, "/route", []string{from, "192.0.2.1"}},
		{"the route, another client", 0, "/route", []string{from, "192.0.2.2"}},
		{"a route of a service", 4, "/each1", nil},
		{"the other route of the service", 4, "/each2", nil},
		{"a client of a service's route", 3, "/whole2", []string{from, "192.0.2.1"}}, // what the route refuses is not the service's
		{"the service", 1, "/whole1", nil},
		{"another client of the service", 0, "/whole2", []string{from, "192.0.2.2"}},
	} {
		want(t, c.what, let(t, w, 6, c.target, c.fields...), c.want)
	}
}

// A document that keeps a limit keeps what was counted; one that is refused changes nothing.
func TestRateLimitsOutliveDocuments(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "in"))
	config.Routes[0].Rules.Common = limits(rule.RateConfig{Rate: "1/h", Burst: 3})
	r.apply(config)
	w := &way{rig: r, client: client(t, false), url: "http://" + at}
	want(t, "let through", let(t, w, 4, "/"), 3)
	config.Routes = append(config.Routes, RouteConfig{Path: "/more", Service: "web"})
	r.apply(config)
	want(t, "after another document", let(t, w, 1, "/"), 0)
	bad := config
	bad.Routes = []RouteConfig{{Service: "web", Rules: rule.Config{Common: limits(rule.RateConfig{Rate: "0/s"})}}}
	if err := r.p.Apply(t.Context(), bad); err == nil || !strings.Contains(err.Error(), `routes[0].rate_limits[0].rate: rate "0/s" lets nothing through`) {
		t.Errorf("a rate of nothing is taken: %v", err)
	}
	want(t, "after a refused one", let(t, w, 1, "/"), 0)
	config.Routes[0].Rules.Common = limits(rule.RateConfig{Rate: "1/h", Burst: 5})
	r.apply(config)
	want(t, "with another burst", let(t, w, 6, "/"), 5)
	config.Routes[0].Rules.Common = rule.Common{}
	r.apply(config)
	want(t, "without a limit", let(t, w, 9, "/"), 9)
}

// Tokens come while time passes: a client that heeds Retry-After is let through.
func TestRetryAfterIsTrue(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "in"))
	config.Routes[0].Rules.Common = limits(rule.RateConfig{Rate: "30/m", Burst: 1})
	r.apply(config)
	w := &way{rig: r, client: client(t, false), url: "http://" + at}
	want(t, "let through", let(t, w, 1, "/"), 1)
	a := w.do(t, "GET", "/", "")
	want(t, "status", a.StatusCode, 429)
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > 2 {
		t.Fatalf("Retry-After is %q, want up to 2 s", a.Header.Get("Retry-After"))
	}
	time.Sleep(time.Duration(seconds) * time.Second) // as it was told
	want(t, "afterwards", let(t, w, 1, "/"), 1)
}
