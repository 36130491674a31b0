package proxy

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

const (
	// clientShare is the percentage of the process's files that connections of clients may be. Each may need
	// another one, to a server.
	clientShare = 40
	// reserve is how many files are left for all the rest: etcd, the node API, logs, health checks.
	reserve = 128
	// minClients is allowed however few files there are: a proxy that serves nobody protects nothing.
	minClients = 16
	// defaultFiles is how many files are reckoned with where the system does not tell.
	defaultFiles = 1024
	// sayRefused is how often the log tells that connections are refused.
	sayRefused = time.Minute
)

// gate counts the open client connections of all listeners, and closes those that are too many. Whoever runs
// out of files cannot accept, but cannot write etcd's log or renew a lease either.
type gate struct {
	log     *slog.Logger
	limit   int64 // set before the first connection
	opened  time.Time
	conns   atomic.Int64
	refused atomic.Uint64
	said    atomic.Int64 // when the log was told, as time since opened; zero if never
}

// open sets the limit; zero is the share of the files that the process may have open. Go raises the soft limit
// to the hard one when the process starts (package os).
func (g *gate) open(limit int) {
	g.opened = time.Now()
	if g.limit = int64(limit); limit == 0 {
		g.limit = clientLimit(openFileLimit())
	}
}

// clientLimit is how many connections of clients fit in a number of files.
func clientLimit(files int64) int64 {
	return max(min(files*clientShare/100, (files-reserve)/2), minClients)
}

// serverLimit is how many connections to HTTP servers may be open, given the limit of clients, zero for the share. Each client of HTTP/1 needs one at
// most; the streams of HTTP/2 have to do with as many.
func serverLimit(clients int) int { return max(clients, int(clientLimit(openFileLimit()))) }

// enter lets a connection in, or closes it. Whoever was let in leaves once.
func (g *gate) enter(c *net.TCPConn) bool {
	if g.conns.Add(1) <= g.limit {
		return true
	}
	g.conns.Add(-1)
	refused := g.refused.Add(1)
	// A reset: the client knows at once, and no TIME_WAIT stays here.
	c.SetLinger(0)
	c.Close()
	now, said := int64(time.Since(g.opened))+1, g.said.Load()
	if (said == 0 || now-said >= int64(sayRefused)) && g.said.CompareAndSwap(said, now) {
		g.log.Warn("client connections refused: as many as may be are open; raise the limit of open files (LimitNOFILE= in a systemd unit)",
			"open", g.limit, "refused", refused, "client", c.RemoteAddr().String())
	}
	return false
}

func (g *gate) leave() { g.conns.Add(-1) }
