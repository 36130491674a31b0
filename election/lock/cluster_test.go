package lock_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election/lock"
	"tripod/node/etcd"
	"tripod/testcluster"
)

// crew are the workers of a test.
type crew struct {
	t     *testing.T
	order order
	men   []*exec.Cmd
}

func startCrew(t *testing.T, c *testcluster.Cluster, n int) *crew {
	t.Helper()
	book := filepath.Join(c.Dir(), "book")
	if err := os.WriteFile(book, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	crew := &crew{t: t, order: order{Folder: filepath.Join(c.Node(0).Folder(), "tls"), Book: book, Name: "the/lock"}, men: make([]*exec.Cmd, n)}
	for _, n := range c.Nodes() {
		crew.order.Endpoints = append(crew.order.Endpoints, endpoint(n))
	}
	t.Cleanup(crew.end)
	for i := range crew.men {
		crew.start(i)
	}
	return crew
}

func endpoint(n *testcluster.Node) string {
	return "https://" + n.Addr() + ":" + strconv.Itoa(etcd.ClientPort)
}

func (c *crew) start(i int) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	c.order.Number = i
	text, err := json.Marshal(c.order)
	if err != nil {
		c.t.Fatal(err)
	}
	man := exec.Command(self)
	man.Env = append(os.Environ(), workerVariable+"="+string(text))
	man.Stderr = os.Stderr
	man.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := man.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.men[i] = man
}

func (c *crew) signal(i int, s syscall.Signal) {
	c.t.Helper()
	if err := c.men[i].Process.Signal(s); err != nil {
		c.t.Errorf("worker %d has ended: %v", i, err)
	}
}

func (c *crew) kill(i int) {
	c.t.Helper()
	c.signal(i, syscall.SIGKILL)
	_ = c.men[i].Wait() // it was killed
}

// end kills all, also those that are stopped.
func (c *crew) end() {
	for _, man := range c.men {
		if man != nil && man.ProcessState == nil {
			_ = man.Process.Kill()
			_ = man.Wait()
		}
	}
}

// moveLeader makes another node lead etcd, if all is well enough for that.
func moveLeader(t *testing.T, c *testcluster.Cluster, client *clientv3.Client) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	config, err := tlsConfig(filepath.Join(c.Node(0).Folder(), "tls"))
	if err != nil {
		t.Fatal(err)
	}
	members, err := client.MemberList(ctx)
	if err != nil {
		return false
	}
	to := members.Members[rand.N(len(members.Members))].ID
	for _, n := range c.Nodes() {
		// Only the leader itself can be asked.
		one, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint(n)}, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		_, err = one.MoveLeader(ctx, to)
		_ = one.Close()
		if err == nil {
			return true
		}
	}
	return false
}

// How long the faults go on; TRIPOD_LOCK_SECONDS says otherwise.
const faultSeconds = 30

// Six processes take one lock in turns while they, the nodes and the lines between them fail in every way that there is. What they saw is the history of a
// lock, nobody acts beside one who has it alone, and no write of a former holder lands.
func TestNeverTwo(t *testing.T) {
	c := testcluster.Start(t, 3)
	client := c.Etcd()
	crew := startCrew(t, c, 6)
	seconds := faultSeconds
	if text := os.Getenv("TRIPOD_LOCK_SECONDS"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	f := &faults{t: t, c: c, client: client, crew: crew, happened: map[string]int{}}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for late := end.Add(testcluster.Patience); time.Now().Before(end) || !readHistory(t, crew.order.Book).enough(); {
		if time.Now().After(late) {
			t.Fatalf("too little has happened: %v", readHistory(t, crew.order.Book).kinds())
		}
		f.next()
		time.Sleep(rand.N(1500 * time.Millisecond)) // the rhythm of the faults
	}
	f.over()
	crew.end()
	c.WaitReady()

	h := readHistory(t, crew.order.Book)
	answer, err := client.Get(t.Context(), registerKey)
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("%v, %v", answer, err)
	}
	t.Logf("faults: %v; what happened: %v", f.happened, h.kinds())
	h.check(t, string(answer.Kvs[0].Value))
	// Whatever the dead have left is out of the way in bounded time.
	m := newManager(t, lock.Config{Store: client, Leases: client})
	release(t, acquire(t, m, crew.order.Name, lock.Options{}))
}
