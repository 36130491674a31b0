//go:build unix && !linux

package web

// pollHangUp is the event that the other side has closed its direction; this system has none.
const pollHangUp = 0
