//go:build !race

package proxy

import (
	"testing"

	"tripod/proxy/web/rule"
)

// A request that is counted against limits of all kinds costs the heap nothing more than one that is not.
func TestLimitedRequestsDoNotAllocate(t *testing.T) {
	r := start(t, quiet)
	config, at := r.config(rawServer(t))
	for _, by := range []string{"client", "route", "header:X-Api-Key"} {
		common := &config.Routes[0].Rules.Common
		common.RateLimits = append(common.RateLimits, rule.RateConfig{Rate: "1000000/s", By: by})
	}
	r.apply(config)
	run := exchanges(t, browse(t, at).c, "GET /a/b?c=d HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nX-Api-Key: some key\r\n\r\n")
	for range 100 { // pools fill, and slices grow
		run()
	}
	if n := testing.AllocsPerRun(2000, run); n > 0 {
		t.Errorf("%v allocations for each request", n)
	}
}
