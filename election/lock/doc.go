// Package lock gives locks to users: exclusive, shared, and for as many holders as there are permits. A holder that has died, is cut off or
// stopped loses its lock in bounded time, and nobody else holds it before that one's right has ended, by its own clock.
//
//	l, err := locks.Acquire(ctx, "nightly-report", lock.Options{})
//	if err != nil { … }
//	defer l.Release(ctx)
//	for work.Next() {
//		if !l.Held() { … }   // or select on l.Lost()
//		client.Txn(ctx).If(l.Guard()...).Then(…).Commit()   // in the same etcd
//		elsewhere.Write(…, l.Token())                       // a store that keeps the greatest token
//	}
//
// # In the store
//
// A lock NAME is a handful of keys in etcd. Everyone who wants it has an ID and a lease of its own, which is renewed.
//
//	/tripod/locks/NAME/@queue/ID       who waits, as an Entry, under its lease
//	/tripod/locks/NAME/@held/x/ID      an exclusive grant, as an Entry, or a shared one that is being upgraded; under no lease
//	/tripod/locks/NAME/@held/s/ID      a shared grant, or one of so many permits; under no lease
//	/tripod/locks/NAME/@held/alive/ID  the holder's sign of life, under its lease
//
// One may always delete a sign of life or a place in the queue, or revoke a lease: that is how a lock is taken away by hand. A
// grant must not be deleted while its holder may live. Keys whose value is no Entry, whose last part is no ID, or that wait without a
// lease, have no effect.
//
// # The protocol
//
// H is the time for which a right lasts; it is in the grant.
//
//	L1  A grant and its sign of life are written in one transaction, once for an ID: either as nobody is in the way and nobody waits, or in
//	    exchange for the ID's place in the queue, by the first in the queue, at a revision at which nobody is in the way.
//	L2  Before a linearizable read is sent, or the transaction of L1, note t0. If it shows the grant and the sign of life, both at one
//	    revision, its holder has the right to hold until t0 + H; nothing else gives a right. The end passes, and no later read moves it.
//	L3  A holder deletes its grant when what it did has ended (Release).
//	L4  Whoever finds a grant in its way that has no sign of life notes t1, when the read *returned*. Once 1.05 × H have passed since then
//	    it deletes the grant, provided that it has not been written since. Nobody else deletes grants.
//	L5  Renewals of the lease give no right. They only tell the others that somebody is there.
//
// # Safety
//
// Claim: when a grant is written, everyone who was in its way has released the lock or has no right to hold any more.
//
// A grant in the way was deleted before, by its holder (L3), or by another (L4) which had seen it without its sign of life. That sign is
// written once (L1), so that it was gone for good at that revision. A read that showed it took effect before that revision, so its t0 was not later
// than t1, and the right that it gave ended before t1 + 1.05 × H if the clocks advance by lengths that differ by less than 5 %. ∎
//
// "Nobody is in the way" is compared by the transaction that grants: it lists the grants at one revision and compares that none has been
// written later; that some have gone does no harm. The first in the queue stays the first, as whoever comes later gets a greater create
// revision, and who takes the lock without waiting compares that the queue is empty.
//
// So the argument rests on a linearizable store and on clock rates (A1 and A2 of package election), and not on leases. With leases there is
// no such argument, though it is usual to count from before a renewal was sent: a renewal is no linearizable operation. etcd's leader answers it
// from memory, and as long as its raft loop ticks it does not ask whether it still leads (etcdserver, ensureLeadership in v3_server.go). A
// new leader extends every lease by its whole time, counted from its election (lease.Promote), and one election timeout more, which covers a leader
// that has been cut off just now. But a leader that was stopped, or has answers of its followers in its buffers, may be out of
// date for longer when it runs again: it renews a lease that the cluster has counted down since the election, and its client would
// believe in a time that nobody else keeps. Also, a lease can be revoked by hand at any moment, and its keys be deleted. Here both cost a
// hold, and never give two.
//
// With a linearizable read that costs a round trip to a majority and no write to a disk; with a write it could be had as well, three for each renewal.
//
// # The time that a dead holder costs
//
// The lease ends after two fifths of the TTL, in whole seconds, and etcd looks for ended leases twice a second; then H passes, which
// is the rest of the TTL less 5 %. So the next holder has the lock within TTL + 0.5 s, or so, of the last sign of life. A holder that cannot
// reach a majority holds on for H, less the grace that it gets to stop. A change of etcd's leader only makes leases longer.
//
// # Tokens
//
// A fencing token must grow from grant to grant. The create revision of a place in the queue would do for exclusive locks, that are granted in
// the order of the queue. It would not with upgrades, which go before those who wait: one who came early would be granted late, with a smaller
// token. So the token is the revision of the transaction that wrote the grant, or the upgrade. Revisions grow with every
// transaction, so the order of tokens is the order of grants. Whoever shares a lock has a token of its own; those who hold together have different ones.
//
// Guard compares the create revision of the grant's key. The grant of an earlier holder is deleted before a later, conflicting one is written,
// and never comes back; so a guarded write of an earlier holder that is executed after a later grant fails, without any clock.
//
// # Stopped processes
//
// The clock counts the time that a machine is suspended, and Held reads it. A process that was stopped and goes on finds its right over before it
// does anything, if it asks. Between the question and what is done then there is always a moment: where that must not be, use Guard or Token.
package lock
