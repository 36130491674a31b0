//go:build linux

package peer

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// haproxy has the connections to the servers shared by all requests and threads, as its manual recommends where the
// servers are trusted (http-reuse always); passes large answers through a pipe in the kernel where it can, one of 1 MB,
// which is what Go's have (with the pipes of 64 KB that it has otherwise, it takes twice the time); and takes the cipher
// that the client prefers, as the others do.
var haproxy = program{name: "haproxy", last: 21, orphan: syscall.SIGKILL, command: func(s *Setup, folder, address string) (*exec.Cmd, error) {
	var servers strings.Builder
	for i, o := range s.Origins {
		fmt.Fprintf(&servers, "  server s%d %s\n", i, o)
	}
	file, err := write(folder, "haproxy.cfg", fmt.Sprintf(`global
  nbthread 2
  tune.pipesize 1048576
  ssl-default-bind-options ssl-min-ver TLSv1.2 prefer-client-ciphers
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-keep-alive
  option splice-response
frontend all
  bind %[1]s:%[2]s
  bind %[1]s:%[3]s ssl crt %[4]s alpn h2,http/1.1
  option forwardfor
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  default_backend origins
backend origins
  balance roundrobin
  http-reuse always
%[5]s`, address, plainPort, securePort, s.BothFile, &servers))
	// In the foreground, one process with two threads.
	return exec.Command(executable("haproxy"), "-db", "-q", "-f", file, "-C", filepath.Clean(folder)), err
}}
