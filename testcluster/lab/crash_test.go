//go:build linux

package lab

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crash is a lab that waits to be killed. It says where its nodes' namespaces are, and where its data is.
func crash() {
	err := Script(os.Stderr, func(t T) {
		l := startFakes(t, 2, SmallDisk(1<<20))
		fmt.Println(l.dir, l.Node(0).namespace().inode, l.Node(1).namespace().inode)
		time.Sleep(Patience)
	})
	fmt.Println(err)
	os.Exit(1)
}

// Nothing is left of a lab whose test binary was killed, except files: no process, so no namespace and no mount.
func TestCrash(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := interfaces(t)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashVariable+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // dead already, if all went well
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	var dir string
	var inodes [2]uint64
	if _, err := fmt.Sscan(line, &dir, &inodes[0], &inodes[1]); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	defer os.RemoveAll(dir)
	for _, inode := range inodes {
		if pids, err := processesIn(inode); err != nil || len(pids) != 1 {
			t.Errorf("while it lives: processes %v, %v in a node; want one", pids, err)
		}
	}
	if mounts(t, dir) != 0 {
		t.Error("a mount of the lab is in the machine's own mount namespace")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	deadline := time.Now().Add(Patience)
	for _, inode := range inodes {
		for {
			pids, err := processesIn(inode)
			if err != nil {
				t.Fatal(err)
			}
			if len(pids) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("processes %v outlive the lab", pids)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if after := interfaces(t); !reflect.DeepEqual(before, after) {
		t.Errorf("the machine's interfaces were %v, and are %v", before, after)
	}
}

// A lab leaves the machine's interfaces as they were, keeps none of its threads in another namespace, and ends the
// processes that a node's processes started.
func TestNothingIsLeft(t *testing.T) {
	needRoot(t)
	before := interfaces(t)
	var inodes []uint64
	var dir string
	t.Run("lab", func(t *testing.T) {
		l := startFakes(t, 2)
		dir = l.dir
		cmd := exec.Command("sh", "-c", "sleep 1000 & sleep 1000 & exit")
		if err := l.Node(0).Spawn(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if pids, err := processesIn(l.Node(0).namespace().inode); err != nil || len(pids) != 3 {
			t.Errorf("processes %v, %v; want the node and two orphans", pids, err)
		}
		if during := interfaces(t); !reflect.DeepEqual(before, during) {
			t.Errorf("the machine's interfaces were %v, and are %v", before, during)
		}
		for _, h := range l.hosts() {
			inodes = append(inodes, h.namespace().inode)
		}
		inodes = append(inodes, l.lan.ns.inode)
	})
	for _, inode := range inodes {
		if pids, err := processesIn(inode); err != nil || len(pids) != 0 {
			t.Errorf("processes %v, %v are left", pids, err)
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		// A thread ends a moment after its goroutine.
		for deadline := time.Now().Add(Patience); threadIn(task.Name(), inodes); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("thread %s is still in a host", task.Name())
			}
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the lab's folder is still there: %v", err)
	}
	if after := interfaces(t); !reflect.DeepEqual(before, after) {
		t.Errorf("the machine's interfaces were %v, and are %v", before, after)
	}
}

func threadIn(task string, inodes []uint64) bool {
	var stat unix.Stat_t
	return unix.Stat("/proc/self/task/"+task+"/ns/net", &stat) == nil && slices.Contains(inodes, stat.Ino)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
}

func interfaces(t *testing.T) []string {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		addresses, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(i.Name, addresses))
	}
	return names
}

// mounts counts the mounts below a folder in the test's own mount namespace.
func mounts(t *testing.T, folder string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), " "+folder+"/")
}

// A script ends by Fatalf, runs its cleanups in reverse, and returns its failures.
func TestScript(t *testing.T) {
	var order []int
	var log strings.Builder
	err := Script(&log, func(t T) {
		t.Cleanup(func() { order = append(order, 1) })
		t.Cleanup(func() {
			order = append(order, 2)
			t.Errorf("third")
		})
		t.Logf("a %s", "line")
		t.Errorf("first")
		t.Fatalf("second")
		order = append(order, 0)
	})
	if err == nil || err.Error() != "first\nsecond\nthird" {
		t.Errorf("returned %v", err)
	}
	if !reflect.DeepEqual(order, []int{2, 1}) || log.String() != "a line\n" {
		t.Errorf("cleanups in order %v, log %q", order, log.String())
	}
}
