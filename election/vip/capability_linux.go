package vip

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// capable says which capability is missing, and how to give it.
func capable() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	var missing []string
	for _, each := range []struct {
		bit  uint
		name string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_NET_RAW, "CAP_NET_RAW"}} {
		if data[each.bit/32].Effective&(1<<(each.bit%32)) == 0 {
			missing = append(missing, each.name)
		}
	}
	return explain(missing)
}

func explain(missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		program = "tripod"
	}
	return fmt.Errorf("hold vips: %w: %s. Run as root, or: setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep %s, "+
		"or in the systemd unit: AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE",
		ErrCapability, strings.Join(missing, " and "), program)
}
