package etcd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Phase is how far a voter is in becoming a member.
type Phase string

const (
	// Blank: no write-ahead log, no vote, no memory.
	Blank Phase = "blank"
	// Bootstrapping: a cluster of all voters is being formed, no majority has been seen yet.
	Bootstrapping Phase = "bootstrapping"
	// Joined: a member of a living cluster, or of one that lived.
	Joined Phase = "member"
)

// Report is what a voter tells another that asks for its phase.
type Report struct {
	Voter
	Phase Phase `json:"phase"`
	// Incarnation is random, and drawn anew whenever the node starts without a log.
	Incarnation string `json:"incarnation"`
	// Voters is the node's --nodes list.
	Voters string `json:"voters"`
	// Token identifies the cluster that is being formed; empty while blank.
	Token string `json:"token,omitempty"`
	// Started: etcd runs and answers its peers.
	Started bool `json:"started,omitempty"`
	// ClusterID, MemberID and Members are etcd's; only set by a member that is running.
	ClusterID string   `json:"cluster_id,omitempty"`
	MemberID  string   `json:"member_id,omitempty"`
	Members   []string `json:"members,omitempty"`
	// Leader is the name of etcd's raft leader; empty means that there is none now.
	Leader string `json:"leader,omitempty"`
}

// step is what a node without a log does next.
type step int

const (
	stepWait step = iota
	stepForm
	stepJoin
)

// decision is a step with what it needs.
type decision struct {
	step  step
	token string  // of the cluster to form
	peers []Voter // members to ask for admission, the raft leader first
	why   []string
}

// decide is the rule of design: join a living cluster; form one only on the word of every voter; else wait.
// reports holds the answers, failures what the others did instead of answering, both by name.
func decide(self Report, voters []Voter, key []byte, reports map[string]Report, failures map[string]error) decision {
	var members []Report
	for _, r := range reports {
		if r.Phase == Joined {
			members = append(members, r)
		}
	}
	if len(members) > 0 {
		return decision{step: stepJoin, peers: admitters(voters, members)}
	}
	var wait []string
	for _, v := range voters {
		if v.Name == self.Name {
			continue
		}
		r, ok := reports[v.Name]
		switch {
		case !ok:
			wait = append(wait, fmt.Sprintf("%s does not answer (%v)", v, failures[v.Name]))
		case r.Voters != self.Voters:
			wait = append(wait, fmt.Sprintf("%s was started with --nodes %s, this node with %s: give all the same", v, r.Voters, self.Voters))
		}
	}
	if len(wait) > 0 {
		return decision{step: stepWait, why: wait}
	}
	token := clusterToken(self, voters, key, reports)
	for _, v := range voters {
		if r, ok := reports[v.Name]; ok && r.Phase == Bootstrapping && r.Token != token {
			wait = append(wait, fmt.Sprintf("%s is forming a cluster with an earlier life of a node: it is joined as soon as it has a majority", v))
		}
	}
	if len(wait) > 0 {
		return decision{step: stepWait, why: wait}
	}
	return decision{step: stepForm, token: token}
}

// admitters orders the members that can admit a node: the one that they call leader first.
func admitters(voters []Voter, members []Report) []Voter {
	var peers []Voter
	for _, m := range members {
		if v, ok := findVoter(voters, m.Leader); ok && !slices.Contains(peers, v) {
			peers = append(peers, v)
		}
	}
	for _, m := range members {
		if v, ok := findVoter(voters, m.Name); ok && !slices.Contains(peers, v) {
			peers = append(peers, v)
		}
	}
	return peers
}

// clusterToken hashes who forms the cluster, in which life.
func clusterToken(self Report, voters []Voter, key []byte, reports map[string]Report) string {
	mac := hmac.New(sha256.New, key)
	for _, v := range sorted(voters) {
		r := reports[v.Name]
		if v.Name == self.Name {
			r = self
		}
		fmt.Fprintf(mac, "%s=%s=%s\n", v.Name, v.Addr, r.Incarnation)
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
