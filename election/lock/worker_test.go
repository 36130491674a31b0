package lock_test

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"tripod/election"
	"tripod/election/lock"
	"tripod/tls"
)

// workerVariable makes the test binary a worker: a process that takes and uses a lock again and again. It is killed, stopped and cut off.
const workerVariable = "LOCK_WORKER"

// order is what a worker is told.
type order struct {
	Number    int
	Endpoints []string
	Folder    string // with the certificates
	Book      string // the file to which all workers append what they do
	Name      string // of the lock
}

// line is one entry of the book. Times are of the machine's clock, which is the same for all processes.
type line struct {
	Worker int           `json:"w"`
	Kind   string        `json:"k"` // granted, upgraded, beat, writing, wrote, refused, released
	Token  int64         `json:"token,omitempty"`
	Before int64         `json:"before,omitempty"` // the token before an upgrade
	Shared bool          `json:"shared,omitempty"`
	Value  string        `json:"value,omitempty"`
	Prior  string        `json:"prior,omitempty"` // what a write, or a refused one, found
	Call   time.Duration `json:"call"`
	Return time.Duration `json:"return,omitempty"`
}

type worker struct {
	order
	clock  func() time.Duration
	book   *os.File
	client *clientv3.Client
	locks  *lock.Manager
	writes int
}

// work is the life of a worker; it ends with a signal.
func work(text string) int {
	w := &worker{clock: election.Clock()}
	err := json.Unmarshal([]byte(text), &w.order)
	if err == nil {
		err = w.open()
	}
	for err == nil {
		err = w.turn()
	}
	fmt.Fprintln(os.Stderr, "worker:", err)
	return 1
}

func (w *worker) open() error {
	var err error
	if w.book, err = os.OpenFile(w.Book, os.O_APPEND|os.O_WRONLY, 0); err != nil {
		return err
	}
	config, err := tlsConfig(w.Folder)
	if err != nil {
		return err
	}
	cable := newCable()
	w.client, err = clientv3.New(clientv3.Config{
		Endpoints: w.Endpoints, DialTimeout: 5 * time.Second, DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second,
		TLS:         config,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(cable.dial)},
	})
	if err == nil {
		w.locks, err = lock.NewManager(lock.Config{Store: w.client, Leases: w.client, Holder: fmt.Sprint("worker ", w.Number)})
	}
	return err
}

// tlsConfig is made of the files that a node keeps for etcdctl.
func tlsConfig(folder string) (*stdtls.Config, error) {
	pair, err := stdtls.LoadX509KeyPair(filepath.Join(folder, tls.CertFile), filepath.Join(folder, tls.KeyFile))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(folder, tls.CAFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &stdtls.Config{Certificates: []stdtls.Certificate{pair}, RootCAs: roots}, nil
}

func (w *worker) say(l line) error {
	l.Worker = w.Number
	text, err := json.Marshal(l)
	if err == nil {
		_, err = w.book.Write(append(text, '\n'))
	}
	return err
}

// turn takes the lock once, uses it and gives it back.
func (w *worker) turn() error {
	shared := rand.N(4) == 0
	call := w.clock()
	l, err := w.locks.Acquire(context.Background(), w.Name, lock.Options{TTL: time.Duration(2+rand.N(2)) * time.Second, Shared: shared})
	if err != nil {
		return err
	}
	err = w.say(line{Kind: "granted", Token: l.Token(), Shared: shared, Call: call, Return: w.clock()})
	if err == nil {
		err = w.use(l)
	}
	if err == nil && shared && l.Err() == nil && rand.N(2) == 0 {
		err = w.upgrade(l)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	call = w.clock()
	if err := l.Release(ctx); err != nil {
		return nil // its lease ends it
	}
	return w.say(line{Kind: "released", Token: l.Token(), Call: call, Return: w.clock()})
}

func (w *worker) upgrade(l *lock.Lock) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	before, call := l.Token(), w.clock()
	if err := l.Upgrade(ctx); err != nil {
		return nil
	}
	if err := w.say(line{Kind: "upgraded", Before: before, Token: l.Token(), Call: call, Return: w.clock()}); err != nil {
		return err
	}
	return w.use(l)
}

// use works for a while, or until the lock is lost, and after that it tries to write some more.
func (w *worker) use(l *lock.Lock) error {
	end := w.clock() + rand.N(200*time.Millisecond)
	if rand.N(10) == 0 {
		end += 2 * time.Second
	}
	lost, stubborn := l.Lost(), rand.N(2) == 0
	for w.clock() < end {
		select {
		case <-lost:
			if !stubborn {
				return w.late(l)
			}
			// It goes on for as long as it may.
			lost, end = nil, never
		case <-time.After(2 * time.Millisecond):
		}
		now := w.clock()
		if !l.Held() {
			return w.late(l)
		}
		if err := w.say(line{Kind: "beat", Token: l.Token(), Call: now}); err != nil {
			return err
		}
		if rand.N(5) == 0 {
			if _, err := w.write(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// late is one who does not know, or care, that the right is over, and goes on until it has been refused for a while.
func (w *worker) late(l *lock.Lock) error {
	end := w.clock() + 4*time.Second
	for refused := 0; refused < 5 && w.clock() < end; time.Sleep(30 * time.Millisecond) {
		ok, err := w.write(l)
		if err != nil {
			return err
		}
		if !ok {
			refused++
		}
	}
	return nil
}

// write makes a guarded write, and tells whether it was done; if that is not known, it may have been.
func (w *worker) write(l *lock.Lock) (bool, error) {
	w.writes++
	value := fmt.Sprintf("%d-%d-%d", w.Number, os.Getpid(), w.writes)
	call := w.clock()
	if err := w.say(line{Kind: "writing", Token: l.Token(), Value: value, Call: call}); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	read := clientv3.OpGet(registerKey)
	answer, err := w.client.Txn(ctx).If(l.Guard()...).Then(read, clientv3.OpPut(registerKey, value)).Else(read).Commit()
	if err != nil {
		return true, nil
	}
	kind, prior := "refused", ""
	if found := answer.Responses[0].GetResponseRange().Kvs; len(found) > 0 {
		prior = string(found[0].Value)
	}
	if answer.Succeeded {
		kind = "wrote"
	}
	return answer.Succeeded, w.say(line{Kind: kind, Token: l.Token(), Value: value, Prior: prior, Call: call, Return: w.clock()})
}

// registerKey is what the workers write to.
const registerKey = "/test/register"

// cable is the line to the nodes. SIGUSR1 cuts it and SIGUSR2 mends it: meanwhile nothing passes, and no end is told.
type cable struct {
	mu   sync.Mutex
	cond *sync.Cond
	cut  bool
}

func newCable() *cable {
	c := &cable{}
	c.cond = sync.NewCond(&c.mu)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			c.mu.Lock()
			c.cut = s == syscall.SIGUSR1
			c.cond.Broadcast()
			c.mu.Unlock()
		}
	}()
	return c
}

func (c *cable) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cut {
		c.cond.Wait()
	}
}

func (c *cable) dial(ctx context.Context, address string) (net.Conn, error) {
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		return nil, errors.New("the cable is cut")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &cabled{Conn: conn, cable: c}, nil
}

type cabled struct {
	net.Conn
	cable *cable
}

func (c *cabled) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.cable.pass()
	return n, err
}

func (c *cabled) Write(p []byte) (int, error) {
	c.cable.pass()
	return c.Conn.Write(p)
}
