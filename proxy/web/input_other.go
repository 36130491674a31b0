//go:build !unix

package web

import "net"

// readiness is not known on this system: reads hold a small buffer while they wait, and idle connections are not looked at.
type readiness struct{}

func newReadiness(*net.TCPConn) *readiness { return nil }

func (*readiness) read(*input) error { return nil }

func (*readiness) exchange(*input, []byte) (int, error) { return 0, nil }

func (*readiness) write([]byte) (int, error) { return 0, nil }

func (*readiness) readInto([]byte) (int, error) { return 0, nil }

func (*readiness) alive() bool { return true }

func peerState(*net.TCPConn) (gone, half bool) { return false, false }
