//go:build !linux

package web

import "time"

// pipes are for splice(2), which this system does not have.
type pipes struct{}

func (*pipes) close() {}

// carry does nothing here: the content is copied.
func (*Engine) carry(_, _ *input, _ int64, _ time.Duration, _ *link) (int64, bool, error) {
	return 0, false, nil
}
