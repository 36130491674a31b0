package lock_test

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election/lock"
	"tripod/testcluster"
)

// faults makes things fail, one after the other, and mends them after a while.
type faults struct {
	t        *testing.T
	c        *testcluster.Cluster
	client   *clientv3.Client
	crew     *crew
	happened map[string]int
	mends    []mend // what is broken now
}

// mend ends a fault of a node, or of a worker.
type mend struct {
	node   *testcluster.Node // nil for a worker
	worker int
	at     time.Time
	do     func()
}

// next mends what is due, and makes another fault.
func (f *faults) next() {
	f.t.Helper()
	f.mend(time.Now())
	switch rand.N(11) {
	case 0, 1:
		f.worker("worker killed", time.Second, func(i int) { f.crew.kill(i) }, func(i int) { f.crew.start(i) })
	case 2, 3:
		f.worker("worker stopped", 3*time.Second,
			func(i int) { f.crew.signal(i, syscall.SIGSTOP) }, func(i int) { f.crew.signal(i, syscall.SIGCONT) })
	case 4, 5:
		f.worker("worker cut off", 3*time.Second,
			func(i int) { f.crew.signal(i, syscall.SIGUSR1) }, func(i int) { f.crew.signal(i, syscall.SIGUSR2) })
	case 6:
		f.node("node killed", 2*time.Second, (*testcluster.Node).Kill, (*testcluster.Node).Start)
	case 7:
		f.node("node stopped", 3*time.Second, (*testcluster.Node).Pause, (*testcluster.Node).Resume)
	case 8, 9:
		f.takeAway()
	case 10:
		if moveLeader(f.t, f.c, f.client) {
			f.happened["leader moved"]++
		}
	}
}

// takeAway ends every hold as an operator can, with the holders alive and well.
func (f *faults) takeAway() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Second)
	defer cancel()
	answer, err := f.client.Delete(ctx, lock.Prefix+f.crew.order.Name+"/@held/alive/", clientv3.WithPrefix())
	if err == nil && answer.Deleted > 0 {
		f.happened["taken away"]++
	}
}

// worker breaks one of the workers that are well.
func (f *faults) worker(what string, longest time.Duration, breaks, mends func(int)) {
	f.t.Helper()
	i := rand.N(len(f.crew.men))
	for _, m := range f.mends {
		if m.node == nil && m.worker == i {
			return
		}
	}
	f.happened[what]++
	breaks(i)
	f.mends = append(f.mends, mend{worker: i, at: time.Now().Add(rand.N(longest)), do: func() { mends(i) }})
}

// node breaks a node, if none is broken.
func (f *faults) node(what string, longest time.Duration, breaks, mends func(*testcluster.Node)) {
	f.t.Helper()
	for _, m := range f.mends {
		if m.node != nil {
			return
		}
	}
	n := f.c.Node(rand.N(len(f.c.Nodes())))
	f.happened[what]++
	breaks(n)
	f.mends = append(f.mends, mend{node: n, at: time.Now().Add(rand.N(longest)), do: func() { mends(n) }})
}

// mend ends the faults that are to end by a time.
func (f *faults) mend(by time.Time) {
	var left []mend
	for _, m := range f.mends {
		if m.at.After(by) {
			left = append(left, m)
			continue
		}
		m.do()
	}
	f.mends = left
}

// over mends everything.
func (f *faults) over() { f.mend(time.Now().Add(time.Hour)) }
