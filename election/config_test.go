package election

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestVIPConfig(t *testing.T) {
	tests := []struct {
		address, name string
		prefix        string // or:
		field, says   string
	}{
		{"10.0.0.100/24", "eth0", "10.0.0.100/24", "", ""},
		{"127.0.0.100", "", "127.0.0.100/32", "", ""},
		{"127.0.0.100/32", "", "127.0.0.100/32", "", ""},
		{"2001:db8::100/64", "bond0.12", "2001:db8::100/64", "", ""},
		{"2001:db8::100", "", "2001:db8::100/128", "", ""},
		{"10.0.0.0/31", "", "10.0.0.0/31", "", ""},
		{"10.0.0.1/31", "", "10.0.0.1/31", "", ""},
		{"", "", "", "address", "missing"},
		{"10.0.0", "", "", "address", "not an IP address"},
		{"10.0.0.1/33", "", "", "address", "prefix length"},
		{"10.0.0.1/", "", "", "address", "prefix length"},
		{"10.0.0.1/24/8", "", "", "address", "prefix length"},
		{"10.0.0.1/0", "", "", "address", "every address"},
		{"10.0.0.0/24", "", "", "address", "network itself"},
		{"10.0.0.255/24", "", "", "address", "broadcast"},
		{"255.255.255.255", "", "", "address", "broadcast"},
		{"2001:db8::/64", "", "", "address", "network itself"},
		{"0.0.0.0", "", "", "address", "no host"},
		{"::/64", "", "", "address", "no host"},
		{"224.0.0.1", "", "", "address", "multicast"},
		{"fe80::1%eth0/64", "", "", "address", "interface"},
		{"::ffff:10.0.0.1", "", "", "address", "write 10.0.0.1"},
		{"shop.example.com" + strings.Repeat("x", 300), "", "", "address", "…"},
		{"10.0.0.1", "much-too-long-name", "10.0.0.1/32", "interface", "longer"},
		{"10.0.0.1", "eth 0", "10.0.0.1/32", "interface", "not the name"},
		{"10.0.0.1", "..", "10.0.0.1/32", "interface", "not the name"},
	}
	for _, test := range tests {
		c := VIPConfig{Address: test.address, Interface: test.name}
		prefix, err := c.Prefix()
		if test.prefix != "" && (err != nil || prefix.String() != test.prefix) {
			t.Errorf("Prefix of %+v = %v, %v", c, prefix, err)
		}
		err = c.Validate()
		if test.field == "" {
			if err != nil {
				t.Errorf("Validate %+v: %v", c, err)
			}
			continue
		}
		fielded, ok := err.(interface{ Field() string })
		if !ok || fielded.Field() != test.field || !strings.Contains(err.Error(), test.says) {
			t.Errorf("Validate %.40q: %v, want something about %q in field %s", test.address, err, test.says, test.field)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("a message of %d bytes", len(err.Error()))
		}
	}
}

func TestVIPConfigPlacement(t *testing.T) {
	delay := func(d time.Duration) *time.Duration { return &d }
	tests := []struct {
		c           VIPConfig
		field, says string
	}{
		{VIPConfig{Zone: "b", Preempt: true, PreemptDelay: delay(0), OnChange: []string{"/bin/true", ""}}, "", ""},
		{VIPConfig{Preempt: true, PreemptDelay: delay(24 * time.Hour)}, "", ""},
		{VIPConfig{Zone: "b\nc"}, "zone", "one line"},
		{VIPConfig{Zone: strings.Repeat("z", 65)}, "zone", "64"},
		{VIPConfig{Preempt: true, PreemptDelay: delay(-1)}, "preempt_delay", "between 0s and 24h"},
		{VIPConfig{Preempt: true, PreemptDelay: delay(25 * time.Hour)}, "preempt_delay", "25h"},
		{VIPConfig{PreemptDelay: delay(time.Second)}, "preempt_delay", "without preempt"},
		{VIPConfig{OnChange: []string{" ", "x"}}, "on_change", "empty"},
		{VIPConfig{OnChange: []string{"x", "a\x00b"}}, "on_change", "zero byte"},
		{VIPConfig{OnChange: []string{"x", strings.Repeat("y", 4097)}}, "on_change", "4096"},
		{VIPConfig{OnChange: make([]string, 65)}, "on_change", "65 words"},
	}
	for _, test := range tests {
		test.c.Address = "10.0.0.100/24"
		err := test.c.Validate()
		if test.field == "" {
			if err != nil {
				t.Errorf("Validate %+v: %v", test.c, err)
			}
			continue
		}
		fielded, ok := err.(interface{ Field() string })
		if !ok || fielded.Field() != test.field || !strings.Contains(err.Error(), test.says) {
			t.Errorf("Validate %+v: %v, want %q at %s", test.c, err, test.says, test.field)
		}
	}
	address := netip.MustParseAddr("10.0.0.100")
	if got := (VIPConfig{Zone: "b", Preempt: true}).Wish(address); got != (Wish{address, "b", true, 10 * time.Second}) {
		t.Errorf("wish %+v", got)
	}
	if got := (VIPConfig{Preempt: true, PreemptDelay: delay(0)}).Wish(address); got != (Wish{address, "", true, 0}) {
		t.Errorf("wish %+v", got)
	}
}

func FuzzVIPConfig(f *testing.F) {
	f.Add("10.0.0.100/24", "eth0")
	f.Add("2001:db8::100/64", "")
	f.Add("fe80::1%eth0", "..")
	f.Fuzz(func(t *testing.T, address, name string) {
		c := VIPConfig{Address: address, Interface: name}
		prefix, err := c.Prefix()
		if err == nil && !prefix.IsValid() {
			t.Fatalf("%q gives %v", address, prefix)
		}
		if c.Validate() == nil && err != nil {
			t.Fatalf("%q is valid and has no prefix: %v", address, err)
		}
	})
}
