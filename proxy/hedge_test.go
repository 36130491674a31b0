package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// hedged is a service of two servers, of which the second is asked when the first one takes long.
func hedged(t *testing.T, after time.Duration, first, second http.HandlerFunc) (r *rig, url string) {
	r = start(t)
	c, at := r.config(backend(t, first), backend(t, second))
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Retries = &upstream.RetriesConfig{Hedge: after}
	c.Services["web"] = s
	r.apply(c)
	return r, "http://" + at
}

// An answer that has begun is not broken off by that of the second server, however long it is on its way; and nobody asks that one any more.
func TestAnAnswerThatHasBegunIsNotHedged(t *testing.T) {
	asked, let := make(chan bool), make(chan bool)
	_, url := hedged(t, 20*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		<-asked // the second server has got the request
		io.WriteString(w, "be")
		w.(http.Flusher).Flush()
		select {
		case <-let:
			io.WriteString(w, "gun")
		case <-time.After(20 * time.Second):
			t.Error("the second server is not let go")
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done() // for it is let go
		io.WriteString(w, "second")
		close(let)
	})
	if status, text := get(t, client(t, false), url); status != 200 || text != "begun" {
		t.Errorf("%d %q", status, text)
	}
}

// The same, when the second server answers all the same.
func TestTheSecondAnswerIsOfNoUse(t *testing.T) {
	asked := make(chan bool)
	_, url := hedged(t, 20*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		<-asked
		for i := range 50 {
			fmt.Fprint(w, i, ",")
			w.(http.Flusher).Flush()
			time.Sleep(2 * time.Millisecond)
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		time.Sleep(30 * time.Millisecond)
		io.WriteString(w, "second")
	})
	var b strings.Builder
	for i := range 50 {
		fmt.Fprint(&b, i, ",")
	}
	c := client(t, false)
	for range 5 {
		if status, text := get(t, c, url); status != 200 || text != b.String() {
			t.Errorf("%d %q", status, text)
		}
	}
}

// Connections of servers that have answered first are as good as others afterwards, whenever the second one answered.
func TestConnectionsAfterHedges(t *testing.T) {
	var n atomic.Int32
	r, url := hedged(t, time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(1000+n.Add(1)*37%2000) * time.Microsecond)
		io.WriteString(w, "an answer")
	}, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "an answer") })
	c := client(t, false)
	for range 500 {
		if status, text := get(t, c, url); status != 200 || text != "an answer" {
			t.Fatalf("%d %q", status, text)
		}
	}
	eventually(t, "nobody is asked any more", func() bool { return r.p.Status().Services[0].Running == 0 })
	if s := r.p.Status().Services[0]; s.Retries == 0 || s.Servers[0].Faults+s.Servers[1].Faults > 0 {
		t.Errorf("%d hedges, %d and %d faults", s.Retries, s.Servers[0].Faults, s.Servers[1].Faults)
	}
}

// Whoever fails a request is told of it, be it the first server or the second.
func TestFaultsOfHedgesCount(t *testing.T) {
	for _, firstFails := range []bool{true, false} {
		asked := make(chan bool, 1)
		failing := func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			if firstFails {
				<-asked // the second is there already
			} else {
				asked <- true
			}
		}
		well := func(w http.ResponseWriter, r *http.Request) {
			if firstFails {
				asked <- true
				time.Sleep(50 * time.Millisecond)
			} else {
				<-asked
				time.Sleep(50 * time.Millisecond)
			}
			io.WriteString(w, "well")
		}
		r := start(t)
		servers := []string{rawBackend(t, failing), backend(t, well)}
		bad := 0
		if !firstFails {
			servers[0], servers[1], bad = servers[1], servers[0], 1
		}
		c, at := r.config(servers...)
		s := c.Services["web"]
		s.Balance = upstream.First
		s.Retries = &upstream.RetriesConfig{Hedge: 20 * time.Millisecond}
		c.Services["web"] = s
		r.apply(c)
		if status, text := get(t, client(t, false), "http://"+at); status != 200 || text != "well" {
			t.Errorf("%d %q", status, text)
		}
		eventually(t, "it is over", func() bool { return r.p.Status().Services[0].Running == 0 })
		if st := r.p.Status().Services[0].Servers; st[bad].Faults != 1 || st[1-bad].Faults != 0 {
			t.Errorf("first fails: %v: faults %d and %d", firstFails, st[0].Faults, st[1].Faults)
		}
	}
}
