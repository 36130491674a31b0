//go:build linux

package outage

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tripod/node/cli"
	"tripod/testcluster/bench/peer"
)

// roleVariable makes the test's binary tripod, or a server.
const roleVariable = "OUTAGE_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "tripod":
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "server":
		if err := Serve(os.Args[1], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(role string) func(args ...string) (*exec.Cmd, error) {
	return func(args ...string) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(self, args...)
		cmd.Env = append(os.Environ(), roleVariable+"="+role)
		return cmd, nil
	}
}

// testStage has addresses that no bench takes, and no other test.
func testStage(t *testing.T) Stage {
	t.Helper()
	for third := 101; third < 120; third++ {
		address := func(last int) string { return fmt.Sprintf("127.0.%d.%d", third, last) }
		if claim, err := net.Listen("tcp", net.JoinHostPort(address(254), "2381")); err == nil {
			t.Cleanup(func() { claim.Close() })
			return Stage{Address: address, Tripod: child("tripod"), Server: child("server")}
		}
	}
	t.Fatal("no free block of loopback addresses")
	return Stage{}
}

// A whole run, with both kinds of tripod, and HAProxy where it is installed. Clients see the fault where nobody is told to try elsewhere, so it
// was really there. How many do is no matter of a test.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := Run(t.Context(), []string{"-rounds", "1", "-for", "1s", "-faults", "503"}, testStage(t), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	names := []string{"tripod", "tripod, status"}
	if peer.Installed("haproxy") == nil {
		names = append(names, "HAProxy", "HAProxy, retry-on")
	} else if !strings.Contains(out.String(), "apt-get install haproxy") {
		t.Errorf("nobody is told that HAProxy is left out:\n%s", out.String())
	}
	for _, name := range names {
		row := regexp.MustCompile(`(?m)^(?:503)? +` + name + ` +(\d+) of (\d+) +(\d+) of (\d+) +\d+ `).FindStringSubmatch(out.String())
		if row == nil {
			t.Errorf("no row of %s in\n%s", name, out.String())
			continue
		}
		number := func(i int) int { n, _ := strconv.Atoi(row[i]); return n }
		if number(2) < getRate/2 || number(4) < postRate/2 {
			t.Errorf("%s: there was hardly a load:\n%s", name, out.String())
		}
		if name == "tripod" && number(1) == 0 {
			t.Errorf("no client of %s saw the fault:\n%s", name, out.String())
		}
	}
	if !strings.Contains(out.String(), "reached; no status is listed") && !strings.Contains(out.String(), "missed") {
		t.Errorf("no word about what is promised:\n%s", out.String())
	}
}

func TestFlags(t *testing.T) {
	for text, part := range map[string]string{
		"-faults explode": `no fault "explode": have crash, refuse`, "-faults ,": "names none", "-rounds 0": "at least one", "-for 0s": "more than nothing", "more": "unknown argument",
	} {
		if _, err := parse(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want %q", text, err, part)
		}
	}
	o, err := parse([]string{"-faults", "hang,crash"})
	if err != nil || len(o.faults) != 2 || o.faults[0].name != "hang" || o.rounds != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parse(nil); err != nil || len(o.faults) != len(allFaults()) {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestDisturbedRoundsDoNotCount(t *testing.T) {
	f := allFaults()[0]
	for name, tt := range map[string]struct {
		late  []time.Duration
		plays int
		says  string
	}{
		"quiet":           {[]time.Duration{0}, 1, ""},
		"disturbed once":  {[]time.Duration{time.Second, mostLate}, 2, "the round does not count"},
		"disturbed ever":  {[]time.Duration{time.Second, time.Second, time.Second, time.Second, time.Second}, mostDisturbed, "try again when it is quiet"},
		"broken in a way": {[]time.Duration{-1}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			plays := 0
			var out strings.Builder
			broken := errors.New("broken")
			trials, err := undisturbed(&out, func() ([]*trial, time.Duration, error) {
				late := tt.late[plays]
				plays++
				if late < 0 {
					return nil, 0, broken
				}
				return []*trial{{fault: f}}, late, nil
			})
			if want := tt.late[0] < 0; errors.Is(err, broken) != want || (len(trials) == 1) == want {
				t.Errorf("%d trials, %v", len(trials), err)
			}
			if plays != tt.plays || !strings.Contains(out.String(), tt.says) || tt.says == "" && out.Len() > 0 {
				t.Errorf("played %d times, want %d: %s", plays, tt.plays, out.String())
			}
		})
	}
}
