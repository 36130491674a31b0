package demo

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"tripod/node"
	"tripod/node/etcd"
)

const (
	nodeCount   = 3
	serverCount = 3
	firstServer = 51  // last byte of the first sample server's address
	vipByte     = 100 // and of the VIP's
)

// place is where the demo's processes listen.
type place struct {
	prefix              string // of the loopback addresses, as in 127.77.7.
	http, https, server int    // ports of the listeners and of the sample servers
}

// findPlace finds loopback addresses and ports that nobody uses. A web server on port 8080 of all addresses is no
// rarity on the machine of somebody who tries a load balancer; the nodes' own ports are fixed.
func findPlace() (place, error) {
	var last error
	for block := 7; block < 250; block += 7 {
		for add := 0; add <= 20000; add += 10000 {
			p := place{prefix: fmt.Sprintf("127.77.%d.", block), http: 8080 + add, https: 8443 + add, server: 9000 + add}
			if last = p.free(); last == nil {
				return p, nil
			}
		}
	}
	if errors.Is(last, syscall.EADDRINUSE) {
		return place{}, fmt.Errorf("the demo finds no free ports: %w: stop the program that listens there on all addresses", last)
	}
	return place{}, fmt.Errorf("the demo needs loopback addresses such as 127.77.7.1, which Linux has and other systems must be given: %w", last)
}

// free says what is in the way.
func (p place) free() error {
	var addresses []string
	for i := range nodeCount {
		for _, port := range []int{etcd.ClientPort, etcd.PeerPort, etcd.APIPort, node.AdminPort, p.http, p.https} {
			addresses = append(addresses, p.address(1+i, port))
		}
	}
	for i := range serverCount {
		addresses = append(addresses, p.address(firstServer+i, p.server))
	}
	addresses = append(addresses, p.address(vipByte, p.http), p.address(vipByte, p.https))
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

func (p place) address(last, port int) string { return fmt.Sprintf("%s%d:%d", p.prefix, last, port) }
func (p place) node(i int) string             { return fmt.Sprintf("%s%d", p.prefix, 1+i) }
func (p place) serverAddress(i int) string    { return p.address(firstServer+i, p.server) }
func (p place) vip() string                   { return fmt.Sprintf("%s%d", p.prefix, vipByte) }
