package node

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/node/etcd"
)

// Config is what an operator says on the command line. The zero value, with a Data folder, is a cluster of
// one on the loopback address.
type Config struct {
	// Nodes lists the voters: addr or name=addr, separated by commas. Empty means 127.0.0.1 alone.
	Nodes string
	// Self is the name or address of this node in Nodes. Empty means: found by the interfaces' addresses.
	Self string
	// SecretFile holds the cluster's secret, Secret is it. With neither, an all-loopback cluster makes one
	// in the data folder, and any other refuses to start.
	SecretFile string
	Secret     string
	// Data is the folder for all nodes of this machine; each uses a subfolder of its own name.
	Data string
	// ConfigFile becomes the document of a cluster that has none.
	ConfigFile string
	Zone       string // failure domain; VIPs may prefer one
	// Admin is the address of the plain HTTP admin pages. Empty means the node's own address if it is a
	// loopback address, else 127.0.0.1, with AdminPort.
	Admin   string
	Version string // of the program
	// DrainTimeout is for how long connections may go on when the node is closed; 0 means CloseTimeout.
	DrainTimeout time.Duration

	Log       *slog.Logger // nil discards
	AccessLog io.Writer    // takes a line of JSON with each Write, which must not wait; nil for none
	// Gatherer adds the process's metrics (etcd's and Go's) to /metrics. Nil adds none.
	Gatherer prometheus.Gatherer
}

// AdminPort is the default port of the admin pages.
const AdminPort = 2382

// DefaultNodes is the cluster of one.
const DefaultNodes = "127.0.0.1"

// DefaultData is where a node keeps its data when nobody says: /var/lib/tripod for root, else the XDG state
// folder (XDG Base Directory Specification 0.8).
func DefaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/tripod"
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "tripod")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "tripod")
	}
	return filepath.Join(home, ".local", "state", "tripod")
}

// voters parses Nodes, and warns of an even number of them.
func (c Config) voters(log *slog.Logger) ([]etcd.Voter, error) {
	list := c.Nodes
	if list == "" {
		list = DefaultNodes
	}
	voters, err := etcd.ParseVoters(list)
	if err != nil {
		return nil, err
	}
	if n := len(voters); n%2 == 0 {
		log.Warn(fmt.Sprintf("%d voters survive the loss of %d, as %d would, and there is one more that can fail: list an odd number in --nodes",
			n, (n-1)/2, n-1), "voters", n)
	}
	return voters, nil
}

// adminAddress is where the admin pages of this node listen.
func (c Config) adminAddress(self netip.Addr) (string, error) {
	if c.Admin != "" {
		if _, _, err := net.SplitHostPort(c.Admin); err != nil {
			return "", fmt.Errorf("--admin: %q is not address:port", c.Admin)
		}
		return c.Admin, nil
	}
	host := "127.0.0.1"
	if self.IsLoopback() {
		host = self.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(AdminPort)), nil
}
