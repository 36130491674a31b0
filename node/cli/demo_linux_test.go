package cli_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tripod/testcluster"
)

// screen is a terminal of the test's: a pair of pseudo-terminals, one for the program, one for the person.
type screen struct {
	person, program *os.File

	mu   sync.Mutex
	seen strings.Builder
}

// openScreen opens a terminal of that size.
func openScreen(t *testing.T, rows, columns uint16) *screen {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	s := &screen{person: person, program: program}
	go s.read()
	return s
}

func (s *screen) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := s.person.Read(buffer)
		s.mu.Lock()
		s.seen.Write(buffer[:n])
		s.mu.Unlock()
		if err != nil {
			return // closed at the end of the test
		}
	}
}

// all is everything that the program has written.
func (s *screen) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

var (
	home   = "\x1b[H"
	escape = regexp.MustCompile(`\x1b\[[?0-9;]*[a-zA-Z]`)
)

// now is what a person sees: the last screen that was drawn to its end, without colours.
func (s *screen) now() string {
	all := s.all()
	end := strings.LastIndex(all, "\x1b[J")
	if end < 0 {
		return ""
	}
	return escape.ReplaceAllString(all[max(strings.LastIndex(all[:end], home), 0):end], "")
}

func (s *screen) typeKeys(t *testing.T, keys string) {
	t.Helper()
	if _, err := s.person.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// demoOn starts the demo on a terminal.
func demoOn(t *testing.T, c *testcluster.Cluster, s *screen, folder string) *testcluster.Process {
	t.Helper()
	p := c.Program("demo")
	p.Env = append(p.Env, "TMPDIR="+folder, "TERM=xterm")
	p.Stdin, p.Stdout, p.Stderr = s.program, s.program, s.program
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	return c.SpawnProgram(p)
}

func settings(t *testing.T, s *screen) unix.Termios {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(s.program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *settings
}

// A person kills the holder and a server with a key, and sees what happens.
func testDemoOnScreen(t *testing.T, c *testcluster.Cluster) {
	s, folder := openScreen(t, 24, 80), demoFolder(t, c)
	before := settings(t, s)
	p := demoOn(t, c, s, folder)
	held := regexp.MustCompile(`is held by (node[123])`)
	holder := func(not string) string {
		t.Helper()
		var name string
		c.Wait("a holder on the screen, not "+not, func() error {
			m := held.FindStringSubmatch(s.now())
			if m == nil || m[1] == not {
				return errors.New(s.now())
			}
			name = m[1]
			return nil
		})
		return name
	}
	shows := func(lines ...string) {
		t.Helper()
		c.Wait("the screen", func() error {
			for _, line := range lines {
				if !regexp.MustCompile(`(?m)` + line).MatchString(s.now()) {
					return fmt.Errorf("no %s on\n%s", line, s.now())
				}
			}
			return nil
		})
	}
	// told waits for events, which may have left the screen already.
	told := func(events ...string) {
		t.Helper()
		c.Wait("the events", func() error {
			if all := s.all(); !containsAll(all, events) {
				return fmt.Errorf("not all of %q on\n%s", events, s.now())
			}
			return nil
		})
	}
	first := holder("")
	shows(`^\[1\]  node1 +ready +\d+`, `^\[2\]  node2 +ready +\d+`, `^\[3\]  node3 +ready +\d+`, first+` .*<- holds the VIP`, `^\[a\]  web1 +running +[1-9]`,
		`requests through the VIP: \d+ sent, 0 failed; failovers: 0`, `q quit`, `curl http://127\.77\.\d+\.100:\d+/`)
	if on := s.now(); strings.Count(on, "\r\n") >= 24 || strings.Contains(strings.ReplaceAll(on, "\r\n", ""), "\n") {
		t.Errorf("a screen of %d lines does not fit into 24:\n%s", strings.Count(on, "\r\n")+1, on)
	}

	s.typeKeys(t, "k")
	second := holder(first)
	shows(`^\[.\]  `+first+` +killed`, second+` .*<- holds the VIP`, `failovers: 1`, `last outage: \d\.\d\d s`)
	told(first+" killed (SIGKILL)", first+" is ready", second+" holds ")
	s.typeKeys(t, first[4:]+"b")
	shows(`^\[.\]  `+first+` +ready`, `^\[b\]  web2 +killed`)

	told(first+" started again, process ", "web2 killed (SIGKILL)", second+" sees server web2 down: ")

	s.typeKeys(t, "q")
	if code := p.Wait(); code != 0 {
		t.Errorf("q ended it with code %d", code)
	}
	nothingLeft(t, folder)
	// The person's own screen is back, with the summary on it, in lines.
	c.Wait("the summary", func() error {
		_, after, ok := strings.Cut(s.all(), "\x1b[?1049l")
		if !ok || !regexp.MustCompile(`(?s)requests: \d+ sent, \d+ failed\r\nfailovers: 1\r\n  `+first+` -> `+second+`, .*\r\n`).MatchString(after) {
			return fmt.Errorf("%q", after)
		}
		return nil
	})
	if settings(t, s) != before {
		t.Error("the terminal is not as it was")
	}
}

// Ctrl-C works from the first moment on: a raw terminal makes no signal of it.
func testDemoInterruptedOnScreen(t *testing.T, c *testcluster.Cluster) {
	s, folder := openScreen(t, 24, 80), demoFolder(t, c)
	before := settings(t, s)
	p := demoOn(t, c, s, folder)
	c.Wait("the raw terminal", func() error {
		if settings(t, s) == before {
			return errors.New("it is not raw")
		}
		return nil
	})
	s.typeKeys(t, "\x03")
	if code := p.Wait(); code != 0 || strings.Contains(s.all(), "is held by") {
		t.Errorf("Ctrl-C while it starts: code %d\n%q", code, s.all())
	}
	nothingLeft(t, folder)
	if settings(t, s) != before {
		t.Error("the terminal is not as it was")
	}
}
