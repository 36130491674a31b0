package etcd

import (
	"errors"
	"strings"
	"testing"
)

// three voters, seen from the first.
func three(t *testing.T) []Voter {
	t.Helper()
	voters, err := ParseVoters("127.0.0.1,127.0.0.2,127.0.0.3")
	if err != nil {
		t.Fatal(err)
	}
	return voters
}

func reportOf(v Voter, voters []Voter, phase Phase) Report {
	return Report{Voter: v, Phase: phase, Incarnation: "life of " + v.Name, Voters: FormatVoters(voters)}
}

func TestDecide(t *testing.T) {
	voters := three(t)
	self := reportOf(voters[0], voters, Blank)
	key := []byte("key")
	blank1, blank2 := reportOf(voters[1], voters, Blank), reportOf(voters[2], voters, Blank)
	both := map[string]Report{blank1.Name: blank1, blank2.Name: blank2}
	token := clusterToken(self, voters, key, both)
	with := func(r Report, change func(*Report)) Report { change(&r); return r }

	for name, test := range map[string]struct {
		reports  []Report
		failures map[string]error
		step     step
		why      string
	}{
		"all blank": {reports: []Report{blank1, blank2}, step: stepForm},
		"a silent third may be a cluster that lost two disks": {
			reports: []Report{blank1}, failures: map[string]error{voters[2].Name: errors.New("refused")},
			step: stepWait, why: "127.0.0.3 does not answer (refused)"},
		"a member anywhere is joined": {
			reports: []Report{blank1, with(blank2, func(r *Report) { r.Phase = Joined })}, step: stepJoin},
		"a member is joined though another is silent": {
			reports: []Report{with(blank1, func(r *Report) { r.Phase = Joined })}, step: stepJoin},
		"others with another list": {
			reports: []Report{blank1, with(blank2, func(r *Report) { r.Voters = "127.0.0.3" })},
			step:    stepWait, why: "give all the same"},
		"another forms the same cluster": {
			reports: []Report{with(blank1, func(r *Report) { r.Phase, r.Token = Bootstrapping, token }), blank2}, step: stepForm},
		"another forms a cluster with a former life of a node": {
			reports: []Report{with(blank1, func(r *Report) { r.Phase, r.Token = Bootstrapping, "other" }), blank2},
			step:    stepWait, why: "earlier life"},
	} {
		t.Run(name, func(t *testing.T) {
			reports := map[string]Report{}
			for _, r := range test.reports {
				reports[r.Name] = r
			}
			d := decide(self, voters, key, reports, test.failures)
			if d.step != test.step {
				t.Fatalf("step %d, want %d (%v)", d.step, test.step, d.why)
			}
			if why := strings.Join(d.why, "; "); !strings.Contains(why, test.why) {
				t.Errorf("says %q, want %q", why, test.why)
			}
			if d.step == stepForm && d.token != token {
				t.Errorf("token %s, want %s", d.token, token)
			}
		})
	}
}

// Every voter computes the same token, whatever the order of its list; another life or another secret gives another.
func TestClusterToken(t *testing.T) {
	voters := three(t)
	reports := map[string]Report{}
	for _, v := range voters {
		reports[v.Name] = reportOf(v, voters, Blank)
	}
	want := clusterToken(reports[voters[0].Name], voters, []byte("key"), reports)
	turned := []Voter{voters[2], voters[0], voters[1]}
	if got := clusterToken(reports[voters[2].Name], turned, []byte("key"), reports); got != want {
		t.Errorf("another order gives another token: %s, %s", got, want)
	}
	if got := clusterToken(reports[voters[0].Name], voters, []byte("other"), reports); got == want {
		t.Error("another secret gives the same token")
	}
	newLife := reports[voters[1].Name]
	newLife.Incarnation = "second life"
	reports[voters[1].Name] = newLife
	if got := clusterToken(reports[voters[0].Name], voters, []byte("key"), reports); got == want {
		t.Error("another incarnation gives the same token")
	}
}

func TestAdmittersBeginWithTheLeader(t *testing.T) {
	voters := three(t)
	member := func(i int) Report {
		r := reportOf(voters[i], voters, Joined)
		r.Leader = voters[2].Name
		return r
	}
	got := admitters(voters, []Report{member(1), member(2)})
	if len(got) != 2 || got[0] != voters[2] || got[1] != voters[1] {
		t.Errorf("asks %v, want the leader %s first, each once", got, voters[2])
	}
}
