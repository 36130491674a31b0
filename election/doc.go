// Package election decides which node holds which virtual IP address (VIP), and sees to it that two never do.
//
// It has three parts, which know nothing of each other:
//
//   - The Holder, on every node, keeps the promise. It reads the records /tripod/vips/<address> and starts and
//     stops to answer for an address by the hold protocol below. It alone is what safety rests on.
//   - The Placer, on every node but active on etcd's raft leader only, writes the records.
//   - The Detector tells the Placer which nodes seem to have failed. It may be wrong as often as it likes;
//     that costs an unneeded move, and never a second holder.
//
// All three are given functions for what they need of the world: the store, the network and the clock. A
// record is changed by whoever may write to the store; "etcdctl put" is as good as the Placer.
//
// # The hold protocol
//
// R is the read interval (100 ms), H the hold (400 ms), both on the node's own clock.
//
//	R1  Before a linearizable read of the records is sent, note t0. For every address whose record names me
//	    the read gives the right to hold until t0 + H, and nothing else does.
//	R2  One read at a time. A read that failed or took too long is abandoned: its result is never used.
//	R3  When the right runs out, or a read returns a record that does not name me or no record, drop. Before
//	    anything else is said or done about the address, the drop has returned.
//	R4  The right is used only once the record is clear. A record r becomes clear for the node that it names
//	    when 1.05 × H have passed since t1, the time at which the first read that showed r *returned*; or when
//	    an acknowledgement for r arrives.
//	R5  A node that was named by the record p and sees r, the very next write, name another node acknowledges
//	    r to that one, after its drop: at once if p was clear for it, else when p becomes clear or would have.
//	R6  If p and r, the very next write, both name me, then r is as clear as p, and in its stead.
//
// "The very next write" is decided by numbers that only the store sets: r has p's create_revision, and p's version
// plus one. etcd raises a key's version with every write, and begins a new create_revision after a deletion. So a person
// can write records by hand, with any epoch, copied from wherever, and neither break the argument nor lose
// the quick handover. An acknowledgement carries these numbers of p, and r's revision, and the receiver compares them with those of
// the record that it was named by. A node that saw p, missed the record after it and then sees r cannot
// acknowledge: its numbers would not fit, and the receiver waits instead. A field in the record's value that
// names the predecessor would not do, because values can be copied by hand.
//
// # Safety
//
// Claim: no two nodes hold one address at the same time. It does not depend on who writes records, when and
// why; on the length of any delay; on any message's arrival; or on any process being alive.
//
// It does depend on this much:
//
//	A1  The store is linearizable, and a key's revision, create_revision and version are as etcd documents
//	    them. (A restored backup or forced new cluster is another store: it must not be
//	    opened for reads before the nodes that read the old one have been stopped, or cut off from it for 1.05 × H.)
//	A2  During any H, two nodes' clocks advance by lengths that differ by less than 5 %.
//	    They need not show the same time. A clock goes on while its machine is suspended, and is not slewed
//	    when the time of day is corrected, which chrony does by up to 8.3 %: see systemClock.
//	A3  One process at a time acts under a node's name. A process that starts finds no address answered for by an
//	    earlier one of that name, or removes it before Open. Sockets of a dead process are gone by themselves; addresses in a
//	    kernel are not.
//	A4  Answering ends when the right does, also if the process is paused. A process alone cannot promise
//	    that; the kernel's guard (election/vip) can. Without it, a process that was paused drops as soon as it runs again.
//	A5  Nodes do not lie: From in an acknowledgement has been authenticated.
//
// Say that r is *settled* at some time if from then on no node, other than the one that r names, holds by
// virtue of a record older than r.
//
// Lemma 1: r is settled once H has passed, by any node's clock and with 5 % added for its rate, since any time not before r's
// commit. A node holds by virtue of an older record only through a read that returned that record (R1). That read took effect
// before r was committed (A1), its t0 was still earlier, and its right ended H after t0. And the return of a read that showed r
// is not before r's commit, so that it is a proper t1. The time when that read was *sent* would not be: the commit may fall in between.
//
// Lemma 2: if p, naming B, directly precedes r, naming C; p is settled; B holds nothing and no longer uses reads made
// before it saw r; then r is settled. A record older than r is p or older than p. By virtue of p only B
// may hold, and B does not: all its reads from now on take effect after one that returned r, and return r or later
// records (R2, A1). By virtue of records older than p only B may hold, as p is settled, and B does not.
// If B's process is replaced by another, that one starts to read later still (A3).
//
// Lemma 3: a record that is clear for the node it names (R4–R6) is settled. By induction along the records. By waiting: lemma 1.
// By R6: nobody but the same node was named since. By an acknowledgement: B gave it under R5, so p was
// clear for B, hence settled, or B's own wait was over, hence settled by lemma 1; B had dropped;
// the numbers say that p directly precedes r; so lemma 2 applies. This is why B must not acknowledge while it
// still waits itself: A, from before p, may hold until then, and C would be told otherwise. It is
// also why an acknowledgement from A alone does not count for C if B's record came between, even if C never saw
// that record: B may have.
//
// Theorem: let X hold by virtue of record x and Y by virtue of y at the same time. If x = y, they are the node which that
// record names. Otherwise let y be the later. Y held only after y was clear, so y was settled, and X,
// if it is not the node named by y, does not hold by virtue of x. ∎
//
// Being settled is a fact about the past, so acknowledgements do not age: they may be late, doubled or
// lost. Records are told apart by revision, never by epoch. A process that starts knows
// nothing and waits, also if the record names it already, and so does a node that lost an address and is named again by
// a later record, unless acknowledged.
//
// # Liveness
//
// While reads succeed within R, a node that a record goes on to name holds at the latest 1.05 × H plus the
// time of one notification and one read after the record was written, and keeps holding. A read that takes longer than H/2 is
// abandoned; slower reads could not renew a right in time anyway. Without quorum reads fail, and nobody holds.
package election
