//go:build linux

package main

import (
	"fmt"

	"tripod/testcluster/lab"
)

// tripod is the system that this is about.
type tripod struct {
	*bench
	leader  *lab.Node // etcd's raft leader when the round began
	changes int       // of the VIP's record that have been looked at
}

func (*tripod) name() string                    { return "tripod" }
func (*tripod) promises() bool                  { return true }
func (*tripod) kill(n *lab.Node) lab.Moment     { return n.Kill() }
func (*tripod) restart(n *lab.Node)             { n.Restart() }
func (*tripod) pause(n *lab.Node) lab.Moment    { return n.Pause() }
func (*tripod) resume(n *lab.Node)              { n.Resume() }
func (*tripod) powerOff(n *lab.Node) lab.Moment { return n.PowerOff() }
func (*tripod) powerOn(n *lab.Node)             { n.PowerOn(); n.WaitReady() }
func (s *tripod) mended()                       { s.lab.WaitReady() }

// before remembers who leads, and what has been written.
func (s *tripod) before(*lab.Node) {
	s.unasked()
	s.leader = s.lab.RaftLeader()
}

// unasked complains about changes of holder that nobody caused.
func (s *tripod) unasked() {
	s.t.Helper()
	records, err := s.lab.Records(s.lab.VIP(0))
	if err != nil {
		s.t.Fatalf("history of the vip: %v", err)
	}
	for _, r := range records[min(s.changes, len(records)):] {
		if r.From != "" {
			s.t.Errorf("failover without a fault: %s -> %s: %s", r.From, r.Holder, r.Reason)
		}
	}
	s.changes = len(records)
}

// after says where the time went. The record's time is that of the decision.
func (s *tripod) after(r *round) {
	records, err := s.lab.Records(s.lab.VIP(0))
	if err != nil {
		s.t.Fatalf("history of the vip: %v", err)
	}
	for _, record := range records[min(s.changes, len(records)):] {
		decided := s.lab.At(record.At).Sub(r.harmed)
		r.note += fmt.Sprintf("decided after %s by %s, served %s later; raft leader before: %s. ",
			ms(decided), record.Reason, ms(r.took-decided), s.leader.Name)
	}
	if n := len(records) - s.changes; n != 1 {
		s.t.Errorf("the holder changed %d times in one round: %s", n, r.note)
	}
	s.changes = len(records)
}
