package web

import (
	"io"
	"net"
	"time"
)

// maxSplices is how many answers the kernel may carry at once. Each holds a pipe, which is two files.
const maxSplices = 128

// spliceStep is how much the kernel carries before deadlines are looked at again.
const spliceStep = 4 << 20

// carry moves n bytes from one connection to another; on Linux through splice(2), by which they do not leave the kernel. Neither side may
// stand still for longer than limit, if there is one. Fewer bytes without an error are the source's end.
func carry(to, from *net.TCPConn, n int64, limit time.Duration, l *link) (done int64, err error) {
	defer func() {
		to.SetWriteDeadline(time.Time{})
		from.SetReadDeadline(time.Time{})
	}()
	for done < n {
		end := noTime
		if limit > 0 {
			end = time.Now().Add(limit)
		}
		to.SetWriteDeadline(end)
		from.SetReadDeadline(end)
		if l.isGone() { // the deadline that said so was overwritten
			return done, errGone
		}
		step := io.LimitedReader{R: from, N: min(n-done, spliceStep)}
		moved, err := to.ReadFrom(&step)
		done += moved
		if err != nil {
			if moved > 0 && isTimeout(err) && !l.isGone() {
				continue // slow, but it moves
			}
			return done, err
		}
		if moved == 0 || step.N > 0 {
			return done, nil
		}
	}
	return done, nil
}
