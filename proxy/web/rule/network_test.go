package rule

import (
	"fmt"
	"net/netip"
	"testing"
)

func networks(t testing.TB, list ...string) Networks {
	t.Helper()
	n, err := ParseNetworks(list)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNetworks(t *testing.T) {
	n := networks(t, "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "192.0.2.7", "192.0.2.8/31", "::1", "255.255.255.255", "::ffff:198.51.100.1", "fe80::/10")
	for address, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "9.255.255.255": false, "11.0.0.0": false, "10.1.2.3": true, "10.2.0.1": true,
		"192.0.2.6": false, "192.0.2.7": true, "192.0.2.8": true, "192.0.2.9": true, "192.0.2.10": false, "255.255.255.255": true,
		"2001:db8::": true, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db9::": false, "::1": true, "::": false, "::2": false,
		"::ffff:10.0.0.1": true, "::ffff:11.0.0.1": false, "::10.0.0.1": false, "198.51.100.1": true, "fe80::1%eth0": true,
	} {
		if got := n.Contains(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %t, want %t", address, got, want)
		}
	}
	if n.Contains(netip.Addr{}) || (Networks{}).Contains(netip.MustParseAddr("::1")) || !(Networks{}).Empty() || n.Empty() {
		t.Error("no address, or no networks")
	}
	all := networks(t, "0.0.0.0/0")
	if !all.Contains(netip.MustParseAddr("1.2.3.4")) || all.Contains(netip.MustParseAddr("::1")) {
		t.Error("0.0.0.0/0 is all of IPv4 and nothing else")
	}
	if _, err := ParseNetworks([]string{"10.0.0.0/8", "x"}); err == nil || err.(*FieldError).Field() != "[1]" {
		t.Errorf("got %v", err)
	}
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		allow, deny []string
		client      string
		want        bool
	}{
		{nil, []string{"10.6.6.6"}, "10.6.6.6", false},
		{nil, []string{"10.6.6.6"}, "10.6.6.7", true},
		{[]string{"10.0.0.0/8"}, nil, "10.6.6.6", true},
		{[]string{"10.0.0.0/8"}, nil, "11.0.0.1", false},
		{[]string{"10.0.0.0/8"}, []string{"10.6.6.6"}, "10.6.6.6", false},
		{[]string{"10.6.6.6"}, []string{"10.0.0.0/8"}, "10.6.6.6", false},
		{[]string{"10.0.0.0/8"}, nil, "::1", false},
	} {
		r := compiled(t, "/", Config{Allow: c.allow, Deny: c.deny})
		if got := r.Admit(netip.MustParseAddr(c.client)); got != c.want {
			t.Errorf("allow %v, deny %v: %s: got %t", c.allow, c.deny, c.client, got)
		}
	}
	for _, c := range []Config{{Allow: []string{"0.0.0.0/0", "::/0"}}, {Deny: []string{"10.6.6.6"}}} {
		if compiled(t, "/", c).Admit(netip.Addr{}) {
			t.Errorf("%+v: a client without an address came in", c)
		}
	}
	if !(*Rules)(nil).Admit(netip.Addr{}) {
		t.Error("no rules kept somebody out")
	}
}

// FuzzNetworks compares with a walk over the prefixes.
func FuzzNetworks(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1}, []byte{10, 0, 0, 0, 8, 10, 1, 0, 0, 16})
	f.Add([]byte{255, 255, 255, 255}, []byte{255, 255, 255, 255, 32, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, address, list []byte) {
		if len(address) != 4 || len(list) > 100 {
			return
		}
		a := netip.AddrFrom4([4]byte(address))
		var texts []string
		want := false
		for ; len(list) >= 5; list = list[5:] {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(list)), int(list[4])%33).Masked()
			want = want || p.Contains(a)
			texts = append(texts, p.String())
		}
		if n := networks(t, texts...); n.Contains(a) != want {
			t.Fatal(fmt.Sprint(a, texts, n))
		}
	})
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "4096": 4096, "10B": 10, "10kB": 10_000, "10 MB": 10_000_000, "1GB": 1_000_000_000, "1KiB": 1024, "10MiB": 10 << 20,
		"2GiB": 2 << 30, "1.5KiB": 1536, "0.5 MB": 500_000, "0.0KiB": 0, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    `expected a size such as 10MiB, found ""`,
		"ten":                 `expected a size such as 10MiB, found "ten"`,
		"10m":                 `expected a size such as 10MiB, found "10m"; did you mean 10MiB?`,
		"10 mb":               `expected a size such as 10MiB, found "10 mb"; did you mean 10MB?`,
		"1g":                  `expected a size such as 10MiB, found "1g"; did you mean 1GiB?`,
		"5 bytes":             `expected a size such as 10MiB, found "5 bytes"; did you mean 5?`,
		"-1":                  `expected a size such as 10MiB, found "-1"`,
		"1.5":                 `expected a size such as 10MiB, found "1.5"`,
		"1e6":                 `expected a size such as 10MiB, found "1e6"`,
		"0.0001kB":            `size "0.0001kB" is less than a byte`,
		"9223372036854775808": `size "9223372036854775808" is too large`,
		"99999999999GiB":      `size "99999999999GiB" is too large`,
		"99999999999.5GiB":    `size "99999999999.5GiB" is too large`,
	} {
		if got, err := ParseSize(text); err == nil || err.Error() != want {
			t.Errorf("%s: got %d, %v, want %s", text, got, err, want)
		}
	}
}
