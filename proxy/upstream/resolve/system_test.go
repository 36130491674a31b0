package resolve

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHostsFileGoesFirst(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.test. 3600 IN A 10.0.0.1", "_x._tcp.test. 1 IN SRV 1 1 80 app.test.", soaText)
	set := newSetting(t, "# hosts\n127.0.0.1 localhost\n\n10.0.0.9\tApp.test. alias # first\n2001:db8::9 app.test\nnonsense app.test\n0.0.0.0 app.test\n", "search .\n")
	r := set.resolver(s.address)
	w, alias, srv := watch(t, r, Question{Name: "app.test"}), watch(t, r, Question{Name: "alias."}), watch(t, r, Question{Name: "_x._tcp.test", SRV: true})
	w.wait("10.0.0.9", "2001:db8::9")
	alias.wait("10.0.0.9")
	srv.wait("app.test 10.0.0.9:80 1", "app.test 2001:db8::9:80 1")
	if n := s.count("app.test.") + s.count("alias."); n != 0 {
		t.Errorf("name servers were asked %d times for what the hosts file has", n)
	}
	set.write(set.hosts, "10.0.0.8 app.test\n")
	w.wait("10.0.0.8")
	set.write(set.hosts, "")
	w.wait("10.0.0.1") // for an hour, but that the file has it again
	set.write(set.hosts, "10.0.0.7 app.test\n")
	w.wait("10.0.0.7")
	if err := os.Remove(set.hosts); err != nil {
		t.Fatal(err)
	}
	w.wait("10.0.0.1")
}

func TestLocalhostIsLoopback(t *testing.T) {
	t.Parallel()
	s := newServer(t, "localhost. 60 IN A 10.6.6.6", "a.localhost. 60 IN A 10.6.6.6")
	none, some := plainSetting(t).resolver(s.address), newSetting(t, "10.6.6.6 localhost\n127.0.0.5 LOCALHOST\n", "").resolver(s.address)
	for _, name := range []string{"localhost", "a.localhost", "localhost."} {
		watch(t, none, Question{Name: name}).wait("127.0.0.1", "::1")
	}
	watch(t, some, Question{Name: "localhost"}).wait("127.0.0.5")
	if s.count("") > 0 {
		t.Errorf("asked %q", s.asked)
	}
}

func TestSearchDomains(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ conf, name, want string }{
		{"search a.test b.test\n", "app", "app.a.test. app.b.test. app."},
		{"search a.test b.test\n", "app.", "app."},
		{"search a.test. B.test\n", "app.web", "app.web. app.web.a.test. app.web.b.test."},
		{"search a.test\noptions ndots:2\n", "app.web", "app.web.a.test. app.web."},
		{"search a.test\noptions ndots:99\n", strings.Repeat("x.", 15) + "x", strings.Repeat("x.", 15) + "x. " + strings.Repeat("x.", 15) + "x.a.test."},
		{"search a.test\nsearch c.test\n", "app", "app.c.test. app."},
		{"domain d.test\n", "app", "app.d.test. app."},
		{"search .\n", "app", "app."},
		{"search a.test\n", strings.Repeat("a234567890.", 22) + "abcde", strings.Repeat("a234567890.", 22) + "abcde."},
	} {
		c := parseConf([]byte(tt.conf))
		if got := strings.Join(c.candidates(tt.name), " "); got != tt.want {
			t.Errorf("%q, %s: got %s, want %s", tt.conf, tt.name, got, tt.want)
		}
	}
	many := parseConf([]byte("search" + strings.Repeat(" x.test", 500) + "\n"))
	if n := len(many.candidates("app")); n > maxSearch+1 {
		t.Errorf("%d names are asked for", n)
	}
}

func TestSearchIsDone(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.b.test. 60 IN A 10.0.0.1", "_x._tcp.b.test. 60 IN SRV 1 1 80 app.b.test.", "a.test. 60 IN TXT x", "bad.b.test. 60 IN A 10.6.6.6", soaText)
	r := newSetting(t, "", "search a.test b.test\n").resolver(s.address)
	watch(t, r, Question{Name: "app"}).wait("10.0.0.1")
	watch(t, r, Question{Name: "_x._tcp", SRV: true}).wait("app.b.test 10.0.0.1:80 1")
	if got := s.count("app. "); got > 0 {
		t.Error("asked beyond the first name that exists")
	}
	a := watch(t, r, Question{Name: "nobody"}).waitFault("nobody: no such name (NXDOMAIN)")
	if got := s.count("nobody.a.test. A ") * s.count("nobody.b.test. A ") * s.count("nobody. A "); got == 0 {
		t.Errorf("asked %q; %v", s.asked, a.Err)
	}
}

func TestAFailureEndsTheSearch(t *testing.T) {
	t.Parallel()
	s := newServer(t, "app.a.test. 1 IN A 10.0.0.1", "app.b.test. 1 IN A 10.6.6.6", soaText)
	w := watch(t, newSetting(t, "", "search a.test b.test\n").resolver(s.address), Question{Name: "app"})
	w.wait("10.0.0.1")
	s.fail(2)
	a := w.waitFault("SERVFAIL")
	if got := show(a.Targets); !slices.Equal(got, []string{"10.0.0.1"}) || s.count("app.b.test.") > 0 {
		t.Errorf("targets %q, asked %q", got, s.asked)
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	c := parseConf([]byte("; x\nnameserver 10.0.0.1\nnameserver x\nnameserver fe80::1%eth0\nnameserver ::ffff:10.0.0.3\nnameserver 10.0.0.4\noptions rotate ndots:x\n"))
	if got := fmt.Sprint(c.servers); got != "[10.0.0.1:53 [fe80::1%eth0]:53 10.0.0.3:53]" {
		t.Errorf("servers %s", got)
	}
	for _, text := range []string{"", strings.Repeat("x", maxConf)} {
		if got := fmt.Sprint(parseConf([]byte(text)).servers); got != "[127.0.0.1:53]" {
			t.Errorf("servers of an empty file: %s", got)
		}
	}
}

// A name server has port 53, which is free for a test on some loopback address only by luck: what resolv.conf names is refused, and what
// counts is that it is asked.
func TestResolvConfIsReadAgain(t *testing.T) {
	t.Parallel()
	set := newSetting(t, "", "search .\nnameserver 127.71.1.1\n")
	w := watch(t, set.resolver(), Question{Name: "app.test"})
	w.waitFault("app.test: 127.71.1.1:53 ")
	set.write(set.etc, "search .\nnameserver 127.71.1.2\n")
	w.waitFault("app.test: 127.71.1.2:53 ")
}

func TestFilesAreReadWhenTheyChange(t *testing.T) {
	t.Parallel()
	set := newSetting(t, "10.0.0.1 a\n", "")
	s := newSystem(set.hosts, set.etc)
	first, _ := s.read()
	if hosts, conf := s.changed(); hosts || conf {
		t.Error("changed before anything did")
	}
	set.write(set.hosts, "10.0.0.1 b\n") // of the same size, in the same tick
	if hosts, conf := s.changed(); !hosts || conf {
		t.Errorf("changed %v %v", hosts, conf)
	}
	second, _ := s.read()
	if first.find("a") == nil || second.find("a") != nil || second.find("b") == nil {
		t.Errorf("%v, then %v", first, second)
	}
	if err := os.WriteFile(set.hosts, []byte("10.0.0.2 b\n"), 0o600); err != nil { // in place
		t.Fatal(err)
	}
	if third, _ := s.read(); fmt.Sprint(third.find("b")) != "[10.0.0.2]" {
		t.Errorf("in place: %v", third)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(set.hosts, old, old); err != nil {
		t.Fatal(err)
	}
	s.read()
	if !s.hosts.sure {
		t.Error("a file that is an hour old is read each time")
	}
	if err := os.Remove(set.hosts); err != nil {
		t.Fatal(err)
	}
	if fourth, _ := s.read(); len(fourth) > 0 {
		t.Errorf("removed: %v", fourth)
	}
}

func TestHostsAreBounded(t *testing.T) {
	t.Parallel()
	line := "10.0.0.1 " + strings.Repeat("a", 54) + "\n"
	set := newSetting(t, "10.0.0.7 first\n"+strings.Repeat(line, maxHosts/len(line)+1)+"10.0.0.8 last\n", "")
	h, _ := newSystem(set.hosts, set.etc).read()
	if h.find("first") == nil || h.find("last") != nil || len(h.find(strings.Repeat("a", 54))) != maxTargets {
		t.Errorf("first %v, last %v, %d in between", h.find("first"), h.find("last"), len(h.find(strings.Repeat("a", 54))))
	}
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10.0.0.2:53": "10.0.0.2:53", "10.0.0.2": "10.0.0.2:53", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353", "[::ffff:10.0.0.1]:53": "10.0.0.1:53",
		"": "", "ns.test:53": "", "10.0.0.2:": "", "10.0.0.2:0": "", "10.0.0.2:99999": "", "0.0.0.0:53": "", "224.0.0.1": "", "[::]:53": "", "10.0.0.2:53 ": "", "udp://10.0.0.2": "",
	} {
		at, err := ParseServer(text)
		if (err == nil) != (want != "") || err == nil && at.String() != want {
			t.Errorf("%q: %v, %v", text, at, err)
		}
		if err != nil && !strings.Contains(err.Error(), "as in 10.0.0.2:53") {
			t.Errorf("%q: %v does not say what to write", text, err)
		}
	}
	r := New(Options{Servers: make([]netip.AddrPort, 100)})
	if len(r.servers) != MaxServers {
		t.Errorf("%d servers", len(r.servers))
	}
}
