package web

import "golang.org/x/sys/unix"

// pollHangUp is the event that the other side has closed its direction.
const pollHangUp = unix.POLLRDHUP
