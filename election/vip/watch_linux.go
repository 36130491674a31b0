package vip

import (
	"fmt"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// watch hears from the kernel that interfaces or addresses have changed. What it hears is no more than a reason to look.
type watch struct {
	socket *nl.NetlinkSocket
	closed atomic.Bool
}

func openWatch() (*watch, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	return &watch{socket: socket}, nil
}

func (w *watch) close() {
	w.closed.Store(true)
	w.socket.Close()
}

// run signals dirty until the watch is closed.
func (w *watch) run(dirty chan struct{}) {
	for {
		messages, _, err := w.socket.Receive()
		if err != nil {
			if w.closed.Load() {
				return
			}
			signal(dirty) // some were lost
			continue
		}
		for _, message := range messages {
			if message.Header.Type == unix.RTM_NEWADDR {
				// Our own renewals are told as well, about once a second.
				if a, ok := parseAddress(message.Data); ok && a.proto == addressMark {
					continue
				}
			}
			signal(dirty)
		}
	}
}
