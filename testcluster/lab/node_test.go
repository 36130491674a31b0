//go:build linux

package lab

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Kill ends the process and not the host; Restart brings the process back.
func TestKill(t *testing.T) {
	l := startFakes(t, 1)
	n := l.Node(0)
	wantConnects(t, l.Client, n.Host, 80)
	n.Kill()
	if err := connects(l.Client, n.Host, 80, Patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v; want the host's kernel to refuse", err)
	}
	n.Restart()
	wantConnects(t, l.Client, n.Host, 80)
}

// A paused process answers nothing, while its kernel does; then it goes on where it was.
func TestPause(t *testing.T) {
	l := startFakes(t, 1)
	n := l.Node(0)
	p := l.Probe(n.IP4.String())
	p.WaitHolder()
	paused := n.Pause()
	// Those that it had accepted before may end in time.
	l.Wait("silence", func() error {
		answers := p.Answers()
		last := answers[len(answers)-1]
		if !last.Failed() || last.Start < paused {
			return errors.New("requests are answered")
		}
		return nil
	})
	if stations := p.Stations(l.Now().Add(-50 * time.Millisecond)); len(stations) != 1 {
		t.Errorf("%v answer by ARP; want the paused host's kernel to", stations)
	}
	n.Resume()
	p.WaitHolder(Is(n))
	p.OnlyInOrder("n1")
}

// PowerOff takes the host away, with what its kernel knew and all its processes, and without a word of farewell;
// PowerOn brings it back, with its disk, and a kernel that knows nothing.
func TestPower(t *testing.T) {
	for name, opts := range map[string][]Option{"folder": nil, "small disk": {SmallDisk(1 << 20)}} {
		t.Run(name, func(t *testing.T) {
			l := startFakes(t, 2, opts...)
			n := l.Node(0)
			n.AddAddress(l.VIP(0) + "/24")
			if err := os.MkdirAll(n.Folder(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(n.Folder(), "file"), []byte("kept"), 0o600); err != nil {
				t.Fatal(err)
			}
			pool := l.Pool(n.IP4.String(), 5, 50*time.Millisecond, TCP)
			inode := n.namespace().inode
			n.PowerOff()
			if pids, err := processesIn(inode); err != nil || len(pids) != 0 {
				t.Errorf("processes %v, %v are left", pids, err)
			}
			wantCut(t, l.Client, n.Host, 80)
			wantConnects(t, l.Client, l.Node(1).Host, 80)
			if tally := pool.Tally(); tally.Open != 5 {
				t.Errorf("the end of its processes was heard: %s", tally)
			}
			if err := n.Do(func() error { return nil }); !errors.Is(err, errPoweredOff) {
				t.Errorf("%v", err)
			}
			n.PowerOn()
			n.WaitReady()
			l.Wait("its port 80", func() error { return connects(l.Client, n.Host, 80, Patience) })
			if vip := address4(vipNumber); n.Has(vip) {
				t.Errorf("%s is still there", vip)
			}
			text, err := n.Run("cat", filepath.Join(n.data(), n.Name, "file"))
			if err != nil || text != "kept" {
				t.Errorf("the disk has %q, %v", text, err)
			}
		})
	}
}

// A full disk takes nothing, of this node only, until it is freed.
func TestFillDisk(t *testing.T) {
	l := startFakes(t, 2, SmallDisk(1<<20))
	write := func(n *Node) error {
		_, err := n.Run("sh", "-c", "head -c 100000 /dev/zero > "+filepath.Join(n.data(), "file"))
		return err
	}
	if err := write(l.Node(0)); err != nil {
		t.Fatal(err)
	}
	l.Node(0).FillDisk()
	if err := os.Remove(filepath.Join(l.Node(0).disk.path(), "file")); err != nil {
		t.Fatal(err)
	}
	l.Node(0).FreeDisk()
	l.Node(0).FillDisk()
	if write(l.Node(0)) == nil {
		t.Error("a full disk takes 100,000 bytes")
	}
	if err := write(l.Node(1)); err != nil {
		t.Errorf("the other node: %v", err)
	}
	l.Node(0).FreeDisk()
	if err := write(l.Node(0)); err != nil {
		t.Errorf("after it was freed: %v", err)
	}
}
