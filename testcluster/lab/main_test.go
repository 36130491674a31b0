//go:build linux

package lab

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"

	"tripod/testcluster"
)

// Variables that make the test binary something else.
const (
	fakeVariable  = "LAB_FAKE"  // a node without tripod
	crashVariable = "LAB_CRASH" // a lab that is going to be killed
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(crashVariable) != "" && os.Getenv(fakeVariable) == "":
		crash()
	case os.Getenv(fakeVariable) != "":
		fmt.Fprintln(os.Stderr, fake())
		os.Exit(1)
	}
	testcluster.Main(m)
}

// startFakes starts a lab whose nodes run no tripod but answer on the ports of one, with their names.
func startFakes(t T, n int, opts ...Option) *Lab {
	t.Helper()
	return Start(t, n, append(opts, Env(fakeVariable+"=1"))...)
}

// fake serves its host's name: HTTP on port 80 and, as the servers do, echo; the ports of a cluster accept, and close.
func fake() error {
	name, err := fakeName()
	if err != nil {
		return err
	}
	for port := firstClusterPort; port <= lastClusterPort; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
	}
	lines, err := net.Listen("tcp", fmt.Sprintf(":%d", echoPort))
	if err != nil {
		return err
	}
	go echo(lines, func(net.Conn) string { return name })
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name+"\n") })
	ready, err := net.Listen("tcp", "127.0.0.1:2382")
	if err != nil {
		return err
	}
	go http.Serve(ready, mux)
	return http.ListenAndServe(":80", mux)
}

// fakeName finds out the host's name by its address.
func fakeName() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for i := 1; i <= mostNodes; i++ {
		for _, a := range addresses {
			if a.(*net.IPNet).IP.Equal(address4(i).AsSlice()) {
				return fmt.Sprintf("n%d", i), nil
			}
		}
	}
	return "", fmt.Errorf("no address of a node among %v", addresses)
}
