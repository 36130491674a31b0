package testcluster

import (
	"testing"

	"tripod/node/api"
)

// What a test must be able to fail on: two claims that overlap, and no claim at all.
func TestRecorder(t *testing.T) {
	const vip = "127.0.0.100"
	taken := func(at, until int64) api.Event {
		return api.Event{Kind: "vip_taken", Subject: vip, At: at, Until: until}
	}
	for name, test := range map[string]struct {
		story func(*recorder)
		ok    bool
	}{
		"nothing": {func(*recorder) {}, false},
		"one after the other": {func(r *recorder) {
			r.take("a", taken(100, 500))
			r.take("b", taken(500, 900))
		}, true},
		"both at once": {func(r *recorder) {
			r.take("a", taken(100, 500))
			r.take("b", taken(499, 900))
		}, false},
		"dropped early": {func(r *recorder) {
			r.take("a", taken(100, 500))
			r.take("a", api.Event{Kind: "vip_dropped", Subject: vip, At: 200})
			r.take("b", taken(200, 900))
		}, true},
		"renewed into the other's time": {func(r *recorder) {
			r.take("a", taken(100, 500))
			r.take("a", api.Event{Kind: "vip_renewed", Subject: vip, At: 300, Until: 700})
			r.take("b", taken(600, 900))
		}, false},
		"a renewal without its beginning, after an earlier claim": {func(r *recorder) {
			r.take("a", taken(100, 500))
			r.take("a", api.Event{Kind: "vip_dropped", Subject: vip, At: 200})
			r.take("b", taken(300, 600))
			r.take("a", api.Event{Kind: "vip_renewed", Subject: vip, At: 700, Until: 900})
		}, true},
		"killed": {func(r *recorder) {
			now := int64(r.clock())
			r.take("a", taken(now-100, now+1_000_000_000_000))
			r.ended("a")
			later := int64(r.clock())
			r.take("b", taken(later, later+100))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder()
			defer r.close()
			test.story(r)
			if err := r.check(); (err == nil) != test.ok {
				t.Errorf("check: %v\n%s", err, r.text())
			}
		})
	}
}
