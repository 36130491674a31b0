//go:build linux

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// plain is all connections without TLS, in one loop over epoll. That is cheaper than a goroutine for each; and its
// timer is exact to microseconds, where the runtime's, when it waits in the poller, is to a millisecond: a latency that
// counts from the moment at which a request was to be sent needs that.
func (r *run) plain(ctx context.Context, _ int, mine *Histogram) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := &loop{run: r, mine: mine, buffer: make([]byte, 256<<10)}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(); err != nil {
		return err
	}
	return l.turn(ctx)
}

// loop is a run's connections and their poller.
type loop struct {
	*run
	mine        *Histogram
	poll, timer int
	all         []*socket
	idle        []*socket // with a Rate: those that wait for their turn, the longest waiting first
	began       time.Time
	next        int64 // with a Rate: the number of the next request
	buffer      []byte
}

// socket is one connection.
type socket struct {
	file    int
	request []byte
	answer  answer
	asked   time.Time // when its request was to be sent; zero while there is none
}

// timerMark stands for the timer among the numbers of sockets.
const timerMark = -1

func (l *loop) open() (err error) {
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("timer: %w", err)
	}
	if err := l.watch(l.timer, timerMark); err != nil {
		return err
	}
	for i := range l.Connections {
		s := &socket{request: l.request(i), answer: answer{want: l.Body}}
		if s.file, err = connect(l.Address); err != nil {
			return err
		}
		l.all = append(l.all, s)
		if err := l.watch(s.file, i); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) watch(file, mark int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(mark)}
	if err := unix.EpollCtl(l.poll, unix.EPOLL_CTL_ADD, file, &event); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

func connect(address string) (int, error) {
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return -1, err
	}
	file, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(file, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
	if err == nil {
		err = unix.SetsockoptInt(file, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(file, true)
	}
	if err != nil {
		unix.Close(file)
		return -1, fmt.Errorf("connect to %s: %w", address, err)
	}
	return file, nil
}

func (l *loop) close() error {
	for _, s := range l.all {
		unix.Close(s.file)
	}
	unix.Close(l.timer)
	return unix.Close(l.poll)
}

// turn sends and receives until the run is over.
func (l *loop) turn(ctx context.Context) error {
	if err := l.start(); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 256)
	heard := time.Now()
	for l.phase.Load() != over && ctx.Err() == nil {
		n, err := unix.EpollWait(l.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == timerMark {
				// What it counts does not matter: what is due is reckoned from the clock.
				_, _ = unix.Read(l.timer, l.buffer[:8])
				continue
			}
			heard = time.Now()
			if err := l.receive(l.all[e.Fd], heard); err != nil {
				return err
			}
		}
		if err := l.sendDue(); err != nil {
			return err
		}
		if time.Since(heard) > patience {
			return ErrSilent
		}
	}
	return l.unanswered()
}

// start sends the first requests, or starts the timer that says when.
func (l *loop) start() error {
	l.began = time.Now()
	if l.Rate > 0 {
		l.idle = append(l.idle, l.all...)
		every := unix.NsecToTimespec(max(int64(float64(time.Second)/l.Rate), int64(20*time.Microsecond)))
		if err := unix.TimerfdSettime(l.timer, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
			return fmt.Errorf("timer: %w", err)
		}
		return nil
	}
	for _, s := range l.all {
		if err := l.send(s, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// sendDue sends the requests whose time has come, as far as there are connections for them.
func (l *loop) sendDue() error {
	if l.Rate == 0 {
		return nil
	}
	for len(l.idle) > 0 {
		at := l.began.Add(time.Duration(float64(l.next) / l.Rate * float64(time.Second)))
		if time.Now().Before(at) {
			return nil
		}
		s := l.idle[0]
		l.idle = append(l.idle[:0], l.idle[1:]...)
		l.next++
		if err := l.send(s, at); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) send(s *socket, at time.Time) error {
	s.asked = at
	// Whatever a connection has left to send was received before its answer was, so there is room for a request.
	if n, err := unix.Write(s.file, s.request); err != nil || n < len(s.request) {
		return fmt.Errorf("send a request: %d bytes written: %w", n, err)
	}
	return nil
}

// receive takes what has come on a connection, and sends its next request when the answer is complete.
func (l *loop) receive(s *socket, now time.Time) error {
	n, err := unix.Read(s.file, l.buffer)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	if n == 0 {
		return errors.New("the proxy closed a connection")
	}
	complete, err := s.answer.feed(l.buffer[:n])
	if !complete || err != nil {
		return err
	}
	if l.phase.Load() == counting {
		l.mine.Add(now.Sub(s.asked))
	}
	if l.Rate == 0 {
		return l.send(s, time.Now())
	}
	s.asked = time.Time{}
	l.idle = append(l.idle, s)
	return nil
}

// unanswered looks for connections that got no answer in all the time that counts.
func (l *loop) unanswered() error {
	for _, s := range l.all {
		if waited := time.Since(s.asked); !s.asked.IsZero() && waited > max(l.For, time.Second) {
			return fmt.Errorf("no answer on one of the connections for %s", waited)
		}
	}
	return nil
}
