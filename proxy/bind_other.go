//go:build !linux

package proxy

import (
	"errors"
	"net"
	"syscall"
)

// freebind does nothing where there is no IP_FREEBIND: an address has to be on the host to be bound.
func freebind(string, string, syscall.RawConn) error { return nil }

// share fails where it is not known to be safe: overlapping addresses cannot replace each other.
func share(syscall.RawConn, bool) error { return errors.ErrUnsupported }

// queued leaves the queue to the kernel.
func queued(*net.TCPListener) []*net.TCPConn { return nil }
