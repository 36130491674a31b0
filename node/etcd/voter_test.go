package etcd

import (
	"strings"
	"testing"
)

func TestParseVoters(t *testing.T) {
	voters, err := ParseVoters(" b=10.0.0.2, a=10.0.0.1 ,[fd00::1]")
	if err != nil {
		t.Fatal(err)
	}
	if got := FormatVoters(voters); got != "a=10.0.0.1,b=10.0.0.2,fd00::1" {
		t.Errorf("sorted list is %s", got)
	}
	if voters[0].Name != "b" {
		t.Errorf("the order of the list is not kept: %v", voters)
	}
	if got := voters[2].HostPort(APIPort); got != "[fd00::1]:2381" {
		t.Errorf("IPv6 host and port: %s", got)
	}
	if AllLoopback(voters) {
		t.Error("10.0.0.1 taken for a loopback address")
	}
}

func TestParseVotersRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                           `"" is not an IP address`,
		"web1":                       `"web1" is not an IP address: write addr or name=addr`,
		"10.0.0.1,10.0.0.1":          "10.0.0.1 and 10.0.0.1 claim one address",
		"a=10.0.0.1,b=10.0.0.1":      "a=10.0.0.1 and b=10.0.0.1 claim one address",
		"a=10.0.0.1,a=10.0.0.2":      "claim one name",
		"a=::ffff:10.0.0.1,10.0.0.1": "claim one address",
		"0.0.0.0":                    "cannot be a node's address",
		"a/b=10.0.0.1":               "cannot be a node's name",
		"..=10.0.0.1":                "cannot be a node's name",
		"fe80::1%eth0":               "cannot be a node's address",
		"10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4,10.0.0.5,10.0.0.6,10.0.0.7,10.0.0.8": "8 voters are more than 7",
	} {
		_, err := ParseVoters(list)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "--nodes: ") {
			t.Errorf("%s: %v does not name the flag", list, err)
		}
	}
}

func FuzzParseVoters(f *testing.F) {
	for _, seed := range []string{"10.0.0.1,10.0.0.2", "a=10.0.0.1,b=[fd00::2]", "=,", "a=b=c", "::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		voters, err := ParseVoters(list)
		if err != nil {
			return
		}
		again, err := ParseVoters(FormatVoters(voters))
		if err != nil || FormatVoters(again) != FormatVoters(voters) {
			t.Errorf("%q: formatted as %q, which reads as %v, %v", list, FormatVoters(voters), again, err)
		}
	})
}
