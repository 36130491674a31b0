//go:build linux

package peer

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// nginx keeps connections to the servers, for which its manual wants keepalive, version 1.1 and an empty Connection;
// and gives up no connection for the number of its requests, as it would by default. It passes answers on as they come, as
// the others do, which also takes it less time than to collect them. It has children, which end with it only if it is
// told to end.
var nginx = program{name: "nginx", last: 22, orphan: syscall.SIGTERM, command: func(s *Setup, folder, address string) (*exec.Cmd, error) {
	var servers strings.Builder
	for _, o := range s.Origins {
		fmt.Fprintf(&servers, "    server %s;\n", o)
	}
	file, err := write(folder, "nginx.conf", fmt.Sprintf(`daemon off;
%[6]sworker_processes 2;
worker_rlimit_nofile %[7]d;
pid %[1]s/pid;
error_log stderr error;
events {
  worker_connections %[7]d;
}
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  tcp_nodelay on;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  upstream origins {
%[5]s    keepalive 512;
    keepalive_requests 1000000000;
  }
  server {
    listen %[2]s:%[3]s;
    listen %[2]s:%[4]s ssl http2;
    ssl_certificate %[8]s;
    ssl_certificate_key %[9]s;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
      proxy_pass http://origins;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_buffering off;
      proxy_buffer_size 64k;
      proxy_buffers 4 64k;
      proxy_busy_buffers_size 128k;
    }
  }
}
`, folder, address, plainPort, securePort, &servers, user(), files(), s.CertFile, s.KeyFile))
	return exec.Command(executable("nginx"), "-p", folder, "-c", file, "-e", "stderr"), err
}}

// user lets the workers of root's nginx stay with root: they need nothing of it, but the folder is private.
func user() string {
	if os.Getuid() == 0 {
		return "user root;\n"
	}
	return ""
}

// files is how many files a process may have open.
func files() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return min(limit.Max, 40000)
}
