//go:build linux

package peer

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestParseParent(t *testing.T) {
	for name, test := range map[string]struct {
		stat        string
		pid, parent int
		wrong       bool
	}{
		"plain":          {stat: "17 (nginx) S 4 17 17 0 -1 4194304", pid: 17, parent: 4},
		"a strange name": {stat: "17 (a) S 99 (b)) R 4 17 17 0", pid: 17, parent: 4},
		"empty":          {stat: "", wrong: true},
		"no name":        {stat: "17 S 4", wrong: true},
		"short":          {stat: "17 (nginx) S", wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			pid, parent, err := parseParent([]byte(test.stat))
			if (err != nil) != test.wrong || pid != test.pid || parent != test.parent {
				t.Errorf("process %d of %d, %v", pid, parent, err)
			}
		})
	}
}

func TestParseResident(t *testing.T) {
	if n, err := parseResident([]byte("VmHWM:\t  9 kB\nVmRSS:\t    2208 kB\nRssAnon:\t 1 kB\n")); n != 2208<<10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseResident([]byte("Name:\tx\n")); err == nil {
		t.Error("no error without VmRSS")
	}
}

func TestParseBusy(t *testing.T) {
	if d, err := parseBusy([]byte("cpu  100 20 3 9999 8888 777 666 5 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")); d != 1280*time.Millisecond || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	if _, err := parseBusy([]byte("intr 1 2\n")); err == nil {
		t.Error("no error without a line of cpu")
	}
}

// The processor time of this process is that of its threads, and goes on while it works.
func TestUsageOfThisProcess(t *testing.T) {
	before, err := cpu(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
	}
	after, err := cpu(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("%s, then %s, %v", before, after, err)
	}
	if n, err := resident(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("%d bytes resident, %v", n, err)
	}
	all, err := family(os.Getppid())
	if err != nil || !slices.Contains(all, os.Getpid()) {
		t.Errorf("family %v, %v", all, err)
	}
}
