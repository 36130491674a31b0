// Package etcd runs the etcd member that lives inside a voter, and decides how it starts.
//
// The operator types the same command on first boot, after a reboot, on a wiped disk and on a replaced
// machine. What has to happen differs; [Member.Open] finds out:
//
//   - There is a write-ahead log: start from it. The log knows the members, flags cannot change them.
//   - There is none, and some other voter is a member of a cluster: join it. That peer's cluster removes the
//     member which had my name, adds me as a learner (which has no vote), and promotes me when I have caught up.
//   - There is none, all voters answer, and none is a member: form the cluster, all with the same list.
//   - Otherwise wait, and say for whom.
//
// # Why this is safe
//
// A voter that forgot its log must never vote under its old identity: it may have acknowledged an entry that
// a second majority, formed with its help, does not have. So a node without a log never starts as "new"
// while a cluster may be living: it needs the word of every other voter that it is no member. Two blank
// nodes and a silent third may be a cluster that lost two disks; they wait.
//
// Two clusters must also never mix: a raft message of an earlier life of the cluster, with the same
// addresses, would be believed. Every node without a log therefore draws a random incarnation, written to
// disk before it is told to anybody, and the cluster's token is a hash over the secret and the incarnations
// of all voters. Nodes that have seen each other's incarnations form one cluster; others get another cluster
// ID, and etcd refuses their messages.
//
// A returning member whose cluster has meanwhile removed it (because its disk was thought lost, say) is told
// so by its peers, moves its data aside and joins as a blank node.
package etcd
