package resolve

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const soaText = "test. 60 IN SOA ns.test. ops.test. 1 2 3 4 1" // there is none for one second

func TestBothFamiliesInOrderAndOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 60 IN A 10.0.0.10", "app.test. 60 IN A 10.0.0.9", "app.test. 60 IN A 10.0.0.9", "app.test. 60 IN AAAA 2001:db8::1",
		"app.test. 60 IN AAAA ::ffff:10.0.0.9", "app.test. 60 IN A 0.0.0.0", "app.test. 60 IN A 224.0.0.1")
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: "App.test"})
	a := w.wait("10.0.0.9", "10.0.0.10", "2001:db8::1")
	if a.Err != nil {
		t.Errorf("error %v", a.Err)
	}
	if wait := time.Until(a.Next); wait < 40*time.Second || wait > 70*time.Second {
		t.Errorf("asked again in %s, the TTL is 60s", wait)
	}
}

func TestTTLIsHonoured(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", "app.test. 300 IN AAAA 2001:db8::1", "zero.test. 0 IN A 10.0.0.2", "long.test. 3000 IN A 10.0.0.3", soaText)
	r := plainSetting(t).resolver(s.address)
	w, zero, long := watch(t, r, Question{Name: "app.test"}), watch(t, r, Question{Name: "zero.test"}), watch(t, r, Question{Name: "long.test"})
	w.wait("10.0.0.1", "2001:db8::1")
	zero.wait("10.0.0.2")
	long.wait("10.0.0.3")
	eventually(t, func() bool { return s.count("app.test. A ") >= 4 && s.count("zero.test. A ") >= 4 }, func() string { return strings.Join(s.asked, "\n") })
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[string]time.Time{}
	for i, asked := range s.asked {
		if before, again := last[asked]; again && s.when[i].Sub(before) < time.Second {
			t.Errorf("%s was asked again after %s", asked, s.when[i].Sub(before))
		}
		last[asked] = s.when[i]
	}
	if n := slices.Index(s.asked, "long.test. A udp"); n < 0 || slices.Contains(s.asked[n+1:], "long.test. A udp") {
		t.Error("a name with a TTL of 50 minutes was asked for again at once, or never")
	}
	if w.told() != 1 {
		t.Errorf("told %d times that nothing changed", w.told()-1)
	}
}

func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", soaText)
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: "app.test"})
	w.wait("10.0.0.1")
	s.set("app.test. 1 IN A 10.0.0.2", "app.test. 1 IN A 10.0.0.3", soaText)
	w.wait("10.0.0.2", "10.0.0.3")
	s.set("app.test. 1 IN CNAME other.test.", "other.test. 1 IN CNAME third.test.", "third.test. 1 IN AAAA 2001:db8::5", soaText)
	w.wait("2001:db8::5")
	if n := w.told(); n != 3 {
		t.Errorf("told %d times of 3 changes", n)
	}
}

func TestAliasesLeadOutOfMessages(t *testing.T) {
	t.Parallel()
	s := newServer(t, "end.test. 60 IN A 10.0.0.7", soaText)
	s.do(func(w dns.ResponseWriter, q *dns.Msg) bool {
		next := map[string]string{"app.test.": "b.test.", "b.test.": "end.test.", "x.test.": "y.test.", "y.test.": "x.test."}[q.Question[0].Name]
		if next != "" {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 9}, Target: next}}
			w.WriteMsg(m)
		}
		return next != ""
	})
	r := plainSetting(t).resolver(s.address)
	a := watch(t, r, Question{Name: "app.test"}).wait("10.0.0.7")
	if wait := time.Until(a.Next); wait > 11*time.Second {
		t.Errorf("asked again in %s, an alias is good for 9s", wait)
	}
	watch(t, r, Question{Name: "x.test"}).waitFault("more than 16 aliases")
	if n := s.count("x.test. A ") + s.count("y.test. A "); n > 2*maxLinks {
		t.Errorf("a loop of aliases was followed %d times", n)
	}
}

func TestSRV(t *testing.T) {
	t.Parallel()
	const name = "_http._tcp.web.test"
	s := newServer(t,
		name+". 60 IN SRV 10 5 8080 a.test.", name+". 60 IN SRV 10 0 8081 glue.test.", name+". 60 IN SRV 20 1000 80 c.test.", name+". 60 IN SRV 5 1 80 nowhere.test.",
		"a.test. 60 IN A 10.0.0.1", "a.test. 60 IN AAAA 2001:db8::1", "glue.test. 60 IN A 10.0.0.2", "glue.test. 60 IN AAAA 2001:db8::2", "c.test. 2 IN CNAME d.test.", "d.test. 60 IN A 10.0.0.3", soaText)
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: name, SRV: true})
	a := w.wait("a.test 10.0.0.1:8080 5", "a.test 2001:db8::1:8080 5", "glue.test 10.0.0.2:8081 0", "glue.test 2001:db8::2:8081 0", "c.test 10.0.0.3:80 1000 backup")
	if a.Err == nil || !strings.Contains(a.Err.Error(), "nowhere.test: no such name (NXDOMAIN)") {
		t.Errorf("error %v", a.Err)
	}
	if s.count("glue.test.") > 0 {
		t.Error("addresses that came along were asked for")
	}
	s.set(name+". 1 IN SRV 0 0 0 .", soaText)
	eventually(t, func() bool { return s.count(name) > 1 }, func() string { return "asked again" })
	w.waitFault("no SRV record (NODATA)")
	if len(w.last().Targets) == 0 {
		t.Error("the targets are gone when it was said once that there are none")
	}
}

func TestLongAnswersComeOverTCP(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range 1500 {
		records = append(records, "many.test. 60 IN A "+netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String())
	}
	s := newServer(t, append(records, soaText)...)
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: "many.test"})
	eventually(t, func() bool { return w.told() > 0 }, func() string { return "an answer" })
	if a := w.last(); len(a.Targets) != maxTargets || a.Targets[0].Address != "10.1.0.0" || a.Err != nil {
		t.Errorf("%d targets, %v", len(a.Targets), a.Err)
	}
	if s.count("many.test. A udp") != 1 || s.count("many.test. A tcp") != 1 || s.count("many.test. AAAA tcp") != 0 {
		t.Errorf("asked %q", s.asked)
	}
}

func TestServersThatFailKeepTheLastAnswer(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", soaText)
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: "app.test"})
	w.wait("10.0.0.1")
	for _, tt := range []struct {
		fail func()
		says string
	}{
		{func() { s.fail(dns.RcodeServerFailure) }, "app.test: " + s.address.String() + " failed (SERVFAIL); the last known address stays, next try in "},
		{func() { s.fail(dns.RcodeRefused) }, "failed (REFUSED)"},
		{func() { s.do(func(dns.ResponseWriter, *dns.Msg) bool { return true }) }, "did not answer within 3s"},
		{func() {
			s.do(func(w dns.ResponseWriter, q *dns.Msg) bool {
				m := new(dns.Msg).SetReply(q)
				m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 9}, Ns: "ns.test."}}
				w.WriteMsg(m)
				return true
			})
		}, "does not answer for other zones"},
	} {
		tt.fail()
		a := w.waitFault(tt.says)
		if got := show(a.Targets); !slices.Equal(got, []string{"10.0.0.1"}) {
			t.Errorf("%s: targets %q", tt.says, got)
		}
		if wait := time.Until(a.Next); wait > 34*time.Second {
			t.Errorf("%s: next try in %s", tt.says, wait)
		}
		s.do(nil)
		eventually(t, func() bool { return w.last().Err == nil }, func() string { return "an answer without error" })
	}
}

func TestPartOfAnAnswerMayFail(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", "app.test. 1 IN AAAA 2001:db8::1", soaText)
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: "app.test"})
	w.wait("10.0.0.1", "2001:db8::1")
	s.do(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if q.Question[0].Qtype == dns.TypeAAAA {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
		}
		return q.Question[0].Qtype == dns.TypeAAAA
	})
	s.set("app.test. 1 IN A 10.0.0.2", soaText)
	w.wait("10.0.0.2", "2001:db8::1")
	w.waitFault("IPv6 address: " + s.address.String() + " failed (SERVFAIL)")
	s.do(nil)
	w.wait("10.0.0.2")
}

func TestNamesThatDoNotExistLoseTheirTargetsSlowly(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", "data.test. 1 IN A 10.0.0.2", soaText)
	r := plainSetting(t).resolver(s.address)
	name, data := watch(t, r, Question{Name: "app.test"}), watch(t, r, Question{Name: "data.test"})
	name.wait("10.0.0.1")
	data.wait("10.0.0.2")
	began := time.Now() // before it was said first
	s.set("data.test. 1 IN TXT x", soaText)
	name.waitFault("app.test: no such name (NXDOMAIN) from " + s.address.String() + "; the last known address stays, next try in ")
	data.waitFault("data.test: the name has no address (NODATA) from " + s.address.String())
	name.wait()
	data.wait()
	if took := time.Since(began); took < emptyTime {
		t.Errorf("targets are gone after %s", took)
	}
	s.set("app.test. 1 IN A 10.0.0.9", soaText)
	name.wait("10.0.0.9")
}

func TestNamesThatNeverExisted(t *testing.T) {
	t.Parallel()
	s := newServer(t, soaText)
	w := watch(t, plainSetting(t).resolver(s.address), Question{Name: "no.test"})
	a := w.waitFault("no.test: no such name (NXDOMAIN) from " + s.address.String() + ", next try in ")
	if len(a.Targets) > 0 || w.told() < 1 {
		t.Errorf("targets %q", show(a.Targets))
	}
	eventually(t, func() bool { return s.count("no.test. A ") >= 3 }, func() string { return "asked again after the time that the zone says" })
}

func TestOutcomesAreWeighed(t *testing.T) {
	n := &name{question: Question{Name: "a"}}
	good := outcome{targets: []Target{{Address: "10.0.0.1"}}, ttl: time.Minute}
	now := time.Now()
	step := func(o outcome, after, least, most time.Duration, targets int) {
		t.Helper()
		now = now.Add(after)
		n.learn(o, now)
		if wait := n.due.Sub(now); wait < least || wait > most+maxJitter {
			t.Errorf("next in %s, want %s to %s", wait, least, most)
		}
		if len(n.answer.Targets) != targets || (n.answer.Err != nil) != (o.fault != "") {
			t.Errorf("%d targets, want %d; %v", len(n.answer.Targets), targets, n.answer.Err)
		}
	}
	none, failed := outcome{fault: "none", ttl: time.Minute}, outcome{fault: "failed", failed: true}
	step(good, 0, time.Minute, time.Minute, 1)
	step(outcome{targets: good.targets, ttl: 48 * time.Hour}, 0, time.Hour, time.Hour, 1)
	step(outcome{targets: good.targets}, 0, time.Second, time.Second, 1)
	for _, s := range []time.Duration{1, 2, 4, 8, 16, 30, 30} { // never lets go
		step(failed, time.Hour, s*time.Second, s*time.Second, 1)
	}
	step(none, time.Hour, time.Minute, time.Minute, 1)
	step(none, 9*time.Second, time.Minute, time.Minute, 1)
	step(none, 500*time.Millisecond, time.Minute, time.Minute, 1) // three times, but too soon
	step(none, 500*time.Millisecond, time.Minute, time.Minute, 0)
	step(good, time.Second, time.Minute, time.Minute, 1)
	step(none, time.Second, time.Minute, time.Minute, 1)
	step(none, time.Hour, time.Minute, time.Minute, 1) // long enough, but twice only
	step(failed, time.Second, time.Second, time.Second, 1)
	step(none, time.Hour, time.Minute, time.Minute, 1) // not in a row
	step(none, time.Hour, time.Minute, time.Minute, 1)
	step(none, time.Hour, time.Minute, time.Minute, 0)
	step(outcome{fault: "none", ttl: 24 * time.Hour}, 0, time.Minute, time.Minute, 0)
	step(outcome{fault: "none"}, 0, time.Second, time.Second, 0)
}

func TestWatches(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", soaText)
	set := plainSetting(t)
	r := New(Options{Servers: []netip.AddrPort{s.address}, HostsFile: set.hosts, ResolvConf: set.etc})
	var all []*watcher
	for _, name := range []string{"app.test", "APP.test", "app.TEST"} {
		all = append(all, watch(t, r, Question{Name: name}))
	}
	if s.count("") > 0 || all[0].told() > 0 {
		t.Error("asked before it was opened")
	}
	open(t, r)
	for _, w := range all {
		w.wait("10.0.0.1")
	}
	if n := s.count("app.test. A "); n != 1 {
		t.Errorf("asked %d times for three watches", n)
	}
	late := watch(t, r, Question{Name: "app.test"})
	late.wait("10.0.0.1")
	all[0].watch.End()
	all[0].watch.End()
	told := all[0].told()
	s.set("app.test. 1 IN A 10.0.0.2", soaText)
	late.wait("10.0.0.2")
	all[1].wait("10.0.0.2")
	if all[0].told() != told {
		t.Error("told after its end")
	}
	for _, w := range append(all, late) {
		w.watch.End()
	}
	asked := s.count("")
	other := watch(t, r, Question{Name: "other.test"}) // by the time that this was asked for three times, the first would have been too
	eventually(t, func() bool { return s.count("other.test. A ") >= 3 }, func() string { return "asked for the other name" })
	if n := s.count("app.test. A ") + s.count("app.test. AAAA "); n > asked {
		t.Errorf("a name that nobody watches was asked for %d times", n-asked)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	other.watch.End()
	if after := watch(t, r, Question{Name: "app.test"}); after.told() > 0 {
		t.Error("told after the resolver's end")
	}
	if err := r.Open(t.Context()); err == nil {
		t.Error("opened again")
	}
}

func TestEndMayBeCalledWithTheLockThatChangedTakes(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 1 IN A 10.0.0.1", soaText)
	r := plainSetting(t).resolver(s.address)
	var mu sync.Mutex
	told := make(chan struct{}, 100)
	for range 20 {
		mu.Lock()
		w := r.Watch(Question{Name: "app.test"}, func(Answer) {
			mu.Lock()
			defer mu.Unlock()
			told <- struct{}{}
		})
		mu.Unlock()
		<-told
		mu.Lock()
		w.End()
		mu.Unlock()
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	quiet := silent(t)
	set := plainSetting(t)
	before := runtime.NumGoroutine()
	files := openFiles(t)
	for range 5 {
		r := New(Options{Servers: []netip.AddrPort{quiet}, HostsFile: set.hosts, ResolvConf: set.etc})
		if err := r.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		var watches []*Watch
		for _, name := range strings.Fields("a b c d e f g h") {
			watches = append(watches, r.Watch(Question{Name: name + ".test"}, func(Answer) {}))
		}
		eventually(t, func() bool { return openFiles(t) >= files+2 }, func() string { return "a question on its way" })
		watches[0].End()
		began := time.Now()
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second { // it would be four
			t.Errorf("Close waited %s for a silent server", took)
		}
	}
	eventually(t, func() bool { return runtime.NumGoroutine() <= before && openFiles(t) <= files }, func() string { return "all goroutines and sockets ended" })
}

func openFiles(t testing.TB) int {
	t.Helper()
	dir := "/proc/self/fd"
	if runtime.GOOS != "linux" {
		dir = "/dev/fd"
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
