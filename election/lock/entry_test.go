package lock_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"tripod/election/lock"
)

func TestParseEntry(t *testing.T) {
	good := `{"holder":"a","host":"h","command":"c","since":"2026-01-02T03:04:05Z","mode":"shared","permits":3,"hold_ms":2857,"news":[1]}`
	e, err := lock.ParseEntry([]byte(good))
	want := lock.Entry{Holder: "a", Host: "h", Command: "c", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Mode: lock.Shared, Permits: 3, Hold: 2857}
	if err != nil || e != want {
		t.Errorf("%+v, %v", e, err)
	}
	if text := e.String(); text != "a on h since 2026-01-02T03:04:05Z (c)" {
		t.Error(text)
	}
	for value, says := range map[string]string{
		"":                                       "not of the form",
		"hello":                                  "not of the form",
		"[]":                                     "not of the form",
		"{}":                                     `mode "" is neither`,
		`{"mode":"write","hold_ms":1}`:           `mode "write" is neither`,
		`{"mode":"exclusive"}`:                   "hold_ms 0 is not between 1 and 3600000",
		`{"mode":"exclusive","hold_ms":3600001}`: "hold_ms 3600001 is not",
		`{"mode":"exclusive","hold_ms":-1}`:      "hold_ms -1 is not",
		`{"mode":"exclusive","hold_ms":1e30}`:    "not of the form",
		`{"mode":"shared","hold_ms":1,"permits":-1}`:                "permits -1 is not",
		`{"mode":"shared","hold_ms":1,"permits":1001}`:              "permits 1001 is not between 0 and 1000",
		`{"mode":"exclusive","hold_ms":1,"permits":1}`:              "an exclusive lock has no permits",
		`{"mode":"shared","hold_ms":1,"since":"yesterday"}`:         "not of the form",
		`{"mode":"shared","x":"` + strings.Repeat("x", 4096) + `"}`: "more than the 4096 allowed",
	} {
		if e, err := lock.ParseEntry([]byte(value)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %+v, %v", value, e, err)
		}
	}
}

// Whatever a stranger writes is refused or has all its numbers within bounds, and says who it is in one line.
func FuzzParseEntry(f *testing.F) {
	f.Add([]byte(`{"holder":"a","host":"h","command":"c","since":"2026-01-02T03:04:05Z","mode":"shared","permits":3,"hold_ms":2857}`))
	f.Add([]byte(`{"mode":"exclusive","hold_ms":1}`))
	f.Add([]byte(`{"mode":"shared","upgrading":true,"hold_ms":3600000}`))
	f.Add([]byte(`{"mode":"exclusive","hold_ms":1,"since":"9999-12-31T23:59:59.999999999-23:59","command":"\n"}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := lock.ParseEntry(value)
		if err != nil {
			return
		}
		if e.Mode != lock.Exclusive && e.Mode != lock.Shared || e.Permits < 0 || e.Permits > lock.MaxPermits || e.Hold < 1 || e.Hold > lock.MaxTTL.Milliseconds() {
			t.Errorf("out of bounds: %+v", e)
		}
		if text := e.String(); text == "" || strings.ContainsAny(text, "\n\r\x1b") {
			t.Errorf("%q is not one line", text)
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > 4096 { // escapes are longer than what they stand for
			return
		}
		if e2, err := lock.ParseEntry(again); err != nil || !e2.Since.Equal(e.Since) || e2.Mode != e.Mode || e2.Permits != e.Permits || e2.Hold != e.Hold {
			t.Errorf("%+v became %+v, %v", e, e2, err)
		}
	})
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "nightly-report", "a/b/c", "A_1.x", "..", strings.Repeat("x", 200)} {
		if err := lock.CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for name, says := range map[string]string{
		"": "empty", "/a": "slash", "a/": "slash", "a//b": "slash", "a b": `has ' '`, "a@b": `has '@'`, "ä": `has 'ä'`, "a\nb": `has '\n'`,
		strings.Repeat("x", 201): "it has 201 bytes, and 200 are allowed",
	} {
		if err := lock.CheckName(name); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, good := range []lock.Options{{}, {TTL: time.Second}, {TTL: time.Hour}, {Permits: 1}, {Permits: 1000}, {Shared: true, Grace: time.Second}} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
	for says, bad := range map[string]lock.Options{
		"ttl 999ms is not a time from 1s to 1h0m0s": {TTL: 999 * time.Millisecond},
		"ttl 2h0m0s is not":                         {TTL: 2 * time.Hour},
		"permits -1 is not between 1 and 1000":      {Permits: -1},
		"permits 1001 is not":                       {Permits: 1001},
		"shared or has permits, not both":           {Permits: 2, Shared: true},
		"grace 2s is not less than 1.4285s":         {Grace: 2 * time.Second},
		"grace -1ns is not":                         {Grace: -1},
		"grace 450ms is not less than 450ms":        {TTL: time.Second, Grace: 450 * time.Millisecond},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
