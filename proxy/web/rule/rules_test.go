package rule

import (
	"testing"
	"time"
)

func ptr[T any](v T) *T { return &v }

func TestNothingToDoIsNil(t *testing.T) {
	for _, c := range []Config{
		{}, {Forwarded: "x_forwarded"}, {Common: Common{MaxBody: ptr(Size(0)), Compress: []string{}}}, {Common: Common{RequestHeaders: &HeadersConfig{}}},
	} {
		if r := compiled(t, "/", c); r != nil {
			t.Errorf("%+v: got %+v", c, r)
		}
	}
	if r, _ := Compile("/", Config{Common: Common{MaxBody: ptr(Size(0))}}, Common{MaxBody: ptr(Size(5))}, nil); r != nil {
		t.Errorf("got %+v", r)
	}
	var r *Rules
	if r.MaxBody() != 0 || r.RedirectStatus() != 308 || r.Answer() != nil || r.Forwarded() != XForwarded || r.ErrorPage(503) != nil ||
		r.Compresses() || r.Challenge() != "" || r.Authenticate("") != nil || r.Timeouts(defaults) != defaults {
		t.Error("nil rules say something")
	}
}

func TestTheRouteGoesBeforeItsService(t *testing.T) {
	service := Common{
		MaxBody: ptr(Size(5)), Compress: []string{"gzip"},
		Timeouts:   &TimeoutsConfig{Connect: ptr(time.Second), FirstByte: ptr(2 * time.Second)},
		ErrorPages: map[string]string{"503": "service 503", "502": "service 502", "5xx": "service 5xx"},
	}
	r, err := Compile("/", Config{}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Timeouts{Connect: time.Second, FirstByte: 2 * time.Second, Idle: time.Minute}
	if r.MaxBody() != 5 || !r.Compresses() || r.Timeouts(defaults) != want || r.ErrorPage(502).Body != "service 502" {
		t.Errorf("the service alone: got %+v", r)
	}
	r, err = Compile("/", Config{Status: 301, Forwarded: "both", Common: Common{
		MaxBody: ptr(Size(7)), Compress: []string{},
		Timeouts:   &TimeoutsConfig{FirstByte: ptr(time.Duration(0)), Total: ptr(time.Hour)},
		ErrorPages: map[string]string{"503": "<p>route 503", "4xx": `{"error": "4xx"}`},
	}}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	want = Timeouts{Connect: time.Second, Idle: time.Minute, Total: time.Hour}
	if r.MaxBody() != 7 || r.Compresses() || r.Timeouts(defaults) != want || r.RedirectStatus() != 301 || r.Forwarded() != Both {
		t.Errorf("both: got %+v", r)
	}
	for status, want := range map[int]*Page{
		503: {"<p>route 503", "text/html; charset=utf-8"}, 502: {"service 502", "text/plain; charset=utf-8"}, 504: {"service 5xx", "text/plain; charset=utf-8"},
		404: {`{"error": "4xx"}`, "application/json"}, 200: nil, 308: nil, 999: nil, 0: nil,
	} {
		got := r.ErrorPage(status)
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("page %d: got %+v, want %+v", status, got, want)
		}
	}
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		config RespondConfig
		want   Answer
	}{
		{RespondConfig{}, Answer{Status: 200}},
		{RespondConfig{Status: 503, Body: "\n <!doctype html>"}, Answer{Page{"\n <!doctype html>", "text/html; charset=utf-8"}, 503}},
		{RespondConfig{Body: `{"ok": true}`}, Answer{Page{`{"ok": true}`, "application/json"}, 200}},
		{RespondConfig{Body: "{ok}"}, Answer{Page{"{ok}", "text/plain; charset=utf-8"}, 200}},
		{RespondConfig{Body: "ok\n", ContentType: "text/x"}, Answer{Page{"ok\n", "text/x"}, 200}},
	} {
		r, err := Compile("/", Config{Respond: &c.config}, Common{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Answer(); *got != c.want {
			t.Errorf("got %+v, want %+v", *got, c.want)
		}
	}
}

// TestValidate has what a document's own test cannot reach: node/config has the rest, with positions.
func TestValidate(t *testing.T) {
	check := func(err error, want ...string) {
		t.Helper()
		var got []string
		if err != nil {
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				got = append(got, e.(*FieldError).Field()+": "+e.Error())
			}
		}
		if len(got) != len(want) {
			t.Errorf("got %q, want %q", got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("got %q, want %q", got[i], want[i])
			}
		}
	}
	check(Common{MaxBody: ptr(Size(-1)), Compress: []string{"deflate"}, Timeouts: &TimeoutsConfig{Idle: ptr(-time.Second)}}.Validate(),
		"max_body: size -1 is negative: 0 means no limit", "timeouts.idle: -1s is negative: 0s means no limit", `compress[0]: unknown encoding "deflate": use zstd, br or gzip`)
	check(Config{Forwarded: "all", Status: 302}.Validate("/", Nowhere), `forwarded: unknown value "all": use x_forwarded, forwarded or both`)
	check(Config{BasicAuth: &BasicAuthConfig{}}.Validate("/", ToURL), "basic_auth.users: nobody could come in: name at least one user")
	check(ValidateNetworks(nil))
	check(ValidateNetworks([]string{}), ": is empty: name networks, or remove the key")
	check(ValidateNetworks([]string{"::1", "::1/128", "x"}), `[2]: "x" is no network and no address: write it as 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3`)
	long := make([]byte, 100)
	for i := range long {
		long[i] = 'x'
	}
	check(ValidateNetworks([]string{string(long)}), `[0]: "`+string(long[:60])+`…" is no network and no address: write it as 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3`)
}

// defaults are of somebody who uses the rules.
var defaults = Timeouts{Connect: 5 * time.Second, FirstByte: time.Minute, Idle: time.Minute}
