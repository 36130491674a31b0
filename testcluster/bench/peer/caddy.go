//go:build linux

package peer

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// caddy sets the X-Forwarded-* fields by itself. It keeps as many connections to the servers as there are clients;
// HTTP/3, which nobody here speaks, is off.
var caddy = program{name: "caddy", last: 23, orphan: syscall.SIGKILL, command: func(s *Setup, folder, address string) (*exec.Cmd, error) {
	file, err := write(folder, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		level ERROR
	}
	servers {
		protocols h1 h2
		timeouts {
			idle 300s
		}
	}
}
(proxy) {
	bind %[1]s
	reverse_proxy %[4]s {
		lb_policy round_robin
		transport http {
			keepalive_idle_conns 1024
			keepalive_idle_conns_per_host 512
			compression off
		}
	}
}
http://:%[2]s {
	import proxy
}
https://:%[3]s {
	tls %[5]s %[6]s
	import proxy
}
`, address, plainPort, securePort, strings.Join(s.Origins, " "), s.CertFile, s.KeyFile))
	cmd := exec.Command(executable("caddy"), "run", "--adapter", "caddyfile", "--config", file)
	cmd.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	return cmd, err
}}
