// Package rate counts requests against limits that hold for all nodes of a cluster together.
//
// # A bucket
//
// A Limit has a bucket of tokens for each key, such as a client's address: it holds Burst tokens, is filled at the limit's rate, and a
// request takes one out of it or is refused. A bucket is kept as one number, the time at which it is full again if nobody takes from it
// (the theoretical arrival time of the generic cell rate algorithm, ITU-T I.371 annex A): a token moves that time by the interval
// between two tokens, and no token is there if it lies further ahead than a whole burst takes. So nothing has to be done
// while time passes, and a bucket whose time is in the past is as good as forgotten.
//
// A limit with one key only (all requests of a route) is an atomic number. Others keep their buckets in shards with a lock each, at most
// maxKeys of them; when more come, the fullest of a few are given up, which costs the least. A bucket that is full is forgotten
// in time, and its memory is given back.
//
// # A cluster
//
// Every node has a bucket of its own for each key, with the whole burst and the whole rate, and takes from it without asking anybody. What
// it took it tells the others, which take the same from theirs, below zero if need be. So each token that any node
// spends is charged once on every node, and over any time that is long against the exchange the sum is exact however the load is spread;
// a node that has all of the load lets all of the rate through. What is too much is only what nodes spend before they hear of each other,
// and it is a debt: nothing is let through until it is paid.
//
// A Journal collects what was taken every 100 ms, and within 10 ms when an eighth of what a bucket has left was taken from it: the
// emptier a bucket the sooner the word, which is when it matters. Those buckets come first, then the others in turn, at most maxEntries in
// one batch. Batches are numbered and kept for two seconds. Each other node reads them in order, from the position where it
// stopped: if the connection breaks it goes on behind the last batch that it has taken in, so nothing is lost or counted twice. A node
// that was away for longer has missed what is gone, and that is well: it has counted alone so long, and so have the others. A node that starts
// again makes itself known by a new epoch. What clocks of different nodes show is never compared; how much later than usual a batch has come shows by
// how fast both go.
//
// A node that tells nonsense can do as much harm as one that spends its burst and two seconds of the rate: that is the most that is taken
// from one entry, and the deepest debt is as much for each of the other nodes.
//
// # Keys
//
// A limit is known to the nodes by a hash of its place in the document and of what it says, a key by a hash too. The hash is SipHash with a
// secret that the nodes share, so nobody outside can find keys that fall together, neither in one bucket nor in one shard.
package rate
