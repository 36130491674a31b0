package web

import "time"

// spent is what an exchange has waited for, beside its turn, which upstream.Ask knows.
type spent struct {
	connect time.Duration // all connections that were made for it
	head    time.Duration // from its last sending to the answer's head
}
