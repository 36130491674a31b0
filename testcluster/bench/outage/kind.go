//go:build linux

package outage

import (
	"context"
	"fmt"
	"strings"
)

// kind is a proxy with its settings.
type kind struct {
	name, what string
	// last is the last number of its address.
	last int
	// config is the whole of its configuration.
	config func(at string, servers []string) string
	start  func(ctx context.Context, stage Stage, k *kind, servers []string, folder string) (proxy, error)
	// promises is true of tripod.
	promises bool
	// statuses: answers of 500, 502, 503 and 504 are tried elsewhere too.
	statuses bool
	// statusOnly kinds are measured only where statuses make a difference.
	statusOnly bool
}

// proxy is one that runs.
type proxy interface {
	address() string // host:port
	// up tells whether it gives a server requests.
	up(ctx context.Context, server string) (bool, error)
	stop()
}

// allKinds are all of them, in the order of the table.
func allKinds() []*kind {
	tripod := kind{
		name: "tripod", what: "its defaults, and the check and times", last: 1, start: startTripod, promises: true,
		config: func(_ string, servers []string) string { return document(servers, "") },
	}
	listing := tripod
	listing.name, listing.last, listing.statuses, listing.statusOnly = "tripod, status", 2, true, true
	listing.what = "the same with 500, 502, 503 and 504 as status of retries and passive (for the fault 503 only)"
	listing.config = func(_ string, servers []string) string {
		return document(servers, "    retries: { status: [500, 502, 503, 504] }\n    passive: { status: [500, 502, 503, 504] }\n")
	}
	haproxy := kind{
		name: "HAProxy", what: "option redispatch, retries 3, observe layer7 error-limit 5 on-error mark-down", last: 3, start: startHAProxy,
		config: func(at string, servers []string) string { return haproxyConfig(at, servers, "") },
	}
	retrying := haproxy
	retrying.name, retrying.last, retrying.statuses = "HAProxy, retry-on", 4, true
	retrying.what = "the same with retry-on all-retryable-errors, but for POSTs, as its manual advises"
	retrying.config = func(at string, servers []string) string {
		return haproxyConfig(at, servers, "  retry-on all-retryable-errors\n  http-request disable-l7-retry unless METH_GET\n")
	}
	return []*kind{&tripod, &listing, &haproxy, &retrying}
}

func describeKinds() string {
	var b strings.Builder
	for _, k := range allKinds() {
		fmt.Fprintf(&b, "  %-19s%s\n", k.name, k.what)
	}
	return b.String()
}

// wants tells whether a kind is measured with a fault.
func (k *kind) wants(f *fault) bool { return !k.statusOnly || f.status }
