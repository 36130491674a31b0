package web

import (
	"io"
	"net"
	"time"
)

// maxSplices is how many answers the kernel may carry at once. Each holds a pipe, which is two files.
const maxSplices = 128

// spliceStep is how much the kernel carries before deadlines are looked at again.
const spliceStep = 256 << 10

// carry moves n bytes from one connection to another; on Linux through splice(2), by which they do not leave the kernel. The source may not
// stand still for longer than limit, if there is one; the other side has twice that for each step. Fewer bytes without an error are
// the source's end.
func carry(to, from *net.TCPConn, n int64, limit time.Duration, l *link) (done int64, err error) {
	defer func() {
		to.SetWriteDeadline(time.Time{})
		from.SetReadDeadline(time.Time{})
	}()
	for done < n {
		readBy, writeBy := noTime, noTime
		if limit > 0 {
			now := time.Now()
			readBy, writeBy = now.Add(limit), now.Add(2*limit)
		}
		from.SetReadDeadline(readBy)
		to.SetWriteDeadline(writeBy)
		if l.isGone() { // the deadline that said so was overwritten
			return done, errGone
		}
		step := io.LimitedReader{R: from, N: min(n-done, spliceStep)}
		moved, err := to.ReadFrom(&step)
		done += moved
		if err != nil {
			// A source that is slow may go on. When writing was what took too long, what had been read for it is lost.
			if moved > 0 && isTimeout(err) && time.Now().Before(writeBy) && !l.isGone() {
				continue
			}
			return done, err
		}
		if moved == 0 || step.N > 0 {
			return done, nil
		}
	}
	return done, nil
}
