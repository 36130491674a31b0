package tls

import (
	"bytes"
	"log"
	"strings"
	"sync"
	"time"
)

const (
	handshakeLogEvery = time.Minute // between two lines about one address
	handshakeLogPeers = 256         // addresses remembered
)

// handshakeLog turns the lines that net/http writes about failed handshakes into ours: a peer with another
// secret tries every second or so, and one line a minute about it is enough.
type handshakeLog struct {
	identity *Identity

	mu   sync.Mutex
	last map[string]time.Time // by host
}

// ErrorLog returns a logger for the ErrorLog of the http.Server of a port that uses Server. It says clearly, once a
// minute per address, whom we refused and who refused us, and why; what else net/http complains of goes to the
// identity's log as it is.
func (i *Identity) ErrorLog() *log.Logger {
	return log.New(&handshakeLog{identity: i, last: make(map[string]time.Time)}, "", 0)
}

// Write takes one line.
func (h *handshakeLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	logger := h.identity.log
	failure, ok := strings.CutPrefix(text, "http: TLS handshake error from ")
	if !ok {
		logger.Warn("HTTP server", "message", text)
		return len(line), nil
	}
	address, cause, _ := strings.Cut(failure, ": ")
	if explained, _ := h.identity.explainText(address, cause); explained != "" {
		cause = explained
	}
	switch {
	case strings.HasSuffix(cause, "EOF"), strings.Contains(cause, "connection reset"):
		logger.Debug("connection without a handshake", "peer", address) // a port scan, a health check
	case h.first(hostOf(address)):
		logger.Warn("connection refused", "peer", address, "error", cause)
	}
	return len(line), nil
}

// first tells whether it is time to log something about this host.
func (h *handshakeLog) first(host string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if last, known := h.last[host]; known && now.Sub(last) < handshakeLogEvery {
		return false
	}
	if len(h.last) >= handshakeLogPeers {
		clear(h.last)
	}
	h.last[host] = now
	return true
}
