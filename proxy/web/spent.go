package web

import "time"

// spent is what an exchange has waited for, beside its turn, which upstream.Ask knows.
type spent struct {
	connect time.Duration // all connections that were made for it
	head    time.Duration // from its last sending to the answer's head
}

// answered notes how long the answer's head was waited for, where somebody reads it.
func (x *exchange) answered() {
	if x.table.accessLog > 0 && x.engine.opts.AccessLog != nil {
		x.spent.head = time.Since(x.askedAt)
	}
}
