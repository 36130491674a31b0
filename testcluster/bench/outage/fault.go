//go:build linux

package outage

import (
	"fmt"
	"strings"
	"syscall"
)

// fault is one way in which a server fails. Both functions return when it is done.
type fault struct {
	name, what string
	begin, end func(*backend) error
	// large: the load's answers are of 100 kB.
	large bool
	// partial: clients have a part of an answer, and it cannot be begun anew.
	partial bool
	// status: the server's answers are answers, which only those take for failures who are told to.
	status bool
}

// allFaults are all of them, in the order of the table.
func allFaults() []*fault {
	of := func(m mode, what string) *fault {
		return &fault{
			name: string(m), what: what,
			begin: func(b *backend) error { return b.turn(m) },
			end:   func(b *backend) error { return b.turn(well) },
		}
	}
	crash := &fault{name: "crash", what: "the process is killed with SIGKILL, and started again", begin: (*backend).kill, end: (*backend).start}
	frozen := &fault{
		name: "frozen", what: "the process is stopped with SIGSTOP: the kernel goes on accepting connections and requests",
		begin: func(b *backend) error { return b.signal(syscall.SIGSTOP) },
		end:   func(b *backend) error { return b.signal(syscall.SIGCONT) },
	}
	cutLarge := of(cut, "the same with answers of 100 kB")
	cutLarge.name, cutLarge.large, cutLarge.partial = "cut100k", true, true
	unavailable := of(unavailable, "answers 503")
	unavailable.status = true
	return []*fault{
		crash, of(refuse, "stops listening; what runs is answered, and connections end normally"),
		of(hang, "accepts and reads, and never answers"), frozen, of(slow, fmt.Sprintf("answers after %s, which is in time", slowness)),
		of(garbage, "answers what is no HTTP"), of(reset, "resets the connection in place of an answer"),
		of(cut, "resets the connection in the middle of an answer of 5 bytes"), cutLarge, of(closes, "closes the connection in place of an answer"), unavailable,
	}
}

func faultNames() []string {
	var names []string
	for _, f := range allFaults() {
		names = append(names, f.name)
	}
	return names
}

func describeFaults() string {
	var b strings.Builder
	for _, f := range allFaults() {
		fmt.Fprintf(&b, "  %-9s%s\n", f.name, f.what)
	}
	return b.String()
}
