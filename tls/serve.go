package tls

import (
	"context"
	stdtls "crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	obtainLimit   = 2 * time.Second  // for a certificate made within a handshake
	suspectTime   = 5 * time.Second  // after the storage did not answer
	complaintTime = 10 * time.Second // between two log lines about failed handshakes
)

// obtaining is one host's certificate on the way; everybody who wants it waits for the same.
type obtaining struct {
	done chan struct{}
	cert *certificate
	err  error
}

// getCertificate is called in every full handshake.
func (m *Manager) getCertificate(hello *stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
	var failed error
	if hello.ServerName != "" {
		cert, err := m.forHost(hello, normalHost(hello.ServerName))
		if cert != nil {
			return cert, nil
		}
		failed = err
	}
	host := m.hostOfConnection(hello)
	if host != "" {
		cert, err := m.forHost(hello, host)
		if cert != nil {
			return cert, nil
		}
		failed = err
	}
	err := fmt.Errorf("%w for %.253q", ErrNoCertificate, hello.ServerName)
	if failed != nil {
		err = fmt.Errorf("%w: %w", err, failed)
	}
	m.complain(err)
	return nil, err
}

// forHost returns what to show for a host, or nil if it is unknown.
func (m *Manager) forHost(hello *stdtls.ClientHelloInfo, host string) (*stdtls.Certificate, error) {
	if cert := m.added.Load().choose(hello, host); cert != nil {
		if ready, err := cert.use(); err == nil {
			return ready, nil
		}
	}
	cert := m.usable(host)
	if cert == nil {
		wanted := m.wanted.Load()
		wild := ""
		if parent := parentOf(host); parent != "" {
			wild = "*." + parent
		}
		switch {
		case wanted.has(host):
			return m.obtain(hello.Context(), host)
		case wild == "":
			return nil, nil
		}
		if cert = m.usable(wild); cert == nil {
			if !wanted.has(wild) {
				return nil, nil
			}
			return m.obtain(hello.Context(), wild)
		}
	}
	return cert.use()
}

// hostOfConnection returns the address that the client connected to, as a host, or what stands for it.
func (m *Manager) hostOfConnection(hello *stdtls.ClientHelloInfo) string {
	wanted := m.wanted.Load()
	if hello.Conn != nil {
		if tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
			addr, _ := netip.AddrFromSlice(tcp.IP)
			if host, ok := wanted.byAddr[addr.Unmap()]; ok {
				return host
			}
		}
	}
	return wanted.fallback
}

// obtain makes the certificate of a wanted host within a handshake, once for all who ask meanwhile.
func (m *Manager) obtain(ctx context.Context, host string) (*stdtls.Certificate, error) {
	call := &obtaining{done: make(chan struct{})}
	if other, busy := m.calls.LoadOrStore(host, call); busy {
		call = other.(*obtaining)
		select {
		case <-call.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	} else {
		// Between our caller's look and our call another may have finished.
		if call.cert = m.usable(host); call.cert == nil {
			call.cert, call.err = m.obtainNow(host)
		}
		m.calls.Delete(host)
		close(call.done)
	}
	if call.err != nil {
		return nil, call.err
	}
	return call.cert.use()
}

func (m *Manager) obtainNow(host string) (*certificate, error) {
	ca := m.ca.Load()
	if ca == nil {
		return nil, fmt.Errorf("the cluster's authority is not known: there is no quorum, and no copy of it on this node")
	}
	cert, err := ca.issue(m.sealer, host, m.now())
	if err != nil {
		return nil, err
	}
	storage, err := m.mustStorage()
	if err == nil && m.opened.Load() && int64(time.Since(m.born)) >= m.suspect.Load() {
		// Not the handshake's own context: others wait for the result too.
		ctx, cancel := context.WithTimeout(m.life, obtainLimit)
		defer cancel()
		held, err := storage.PutNew(ctx, []Item{cert.item})
		if err == nil {
			m.applyItems(held)
		} else if m.life.Err() == nil {
			m.suspect.Store(int64(time.Since(m.born) + suspectTime))
			m.log.Warn("certificate made by this node alone, the cluster does not answer", "host", host, "error", err)
		}
	}
	return m.keepLocal(cert), nil
}

// keepLocal puts a certificate that is not stored in place, unless there is a good one already, and
// returns the one to use. The keeper stores it, or takes the one of whoever was first.
func (m *Manager) keepLocal(cert *certificate) *certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.usable(cert.info.Name); known != nil {
		return known
	}
	m.standIn(cert)
	return cert
}

// usable returns the internal certificate of a host, or nil if there is none, or none that opens.
func (m *Manager) usable(host string) *certificate {
	cert := m.internal.get(host)
	if cert != nil && cert.info.Error != "" && cert.ready.Load() == nil {
		return nil
	}
	return cert
}

// standIn puts a certificate of this node alone in the place of a stored one, if there is one, which stays due.
// The caller holds mu.
func (m *Manager) standIn(cert *certificate) {
	host := cert.info.Name
	if known := m.internal.get(host); known != nil {
		cert.item.Revision, cert.renew = known.item.Revision, time.Time{}
	}
	m.internal.set(host, cert)
}

// complain logs a failed handshake, but not every one.
func (m *Manager) complain(err error) {
	now, from := int64(time.Since(m.born)), m.complaint.Load()
	if now >= from && m.complaint.CompareAndSwap(from, now+int64(complaintTime)) {
		m.log.Error("TLS handshake failed", "error", err)
	}
}
