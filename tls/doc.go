// Package tls holds everything that tripod encrypts with: what the nodes show to each other, and what they
// show to the proxy's clients.
//
// # Among nodes
//
// The operator puts one [Secret] on every node. From it each node derives, without asking anybody, the same
// [Authority], by which it signs a certificate for itself, its [Identity]; and the same [Sealer], which encrypts what
// the nodes keep in etcd and on disk. The ports for etcd peers, etcd clients and the node API all demand a certificate
// of that authority. Nodes with different secrets refuse each other with [ErrWrongSecret].
//
// # For clients
//
// A [Manager] gives the proxy one crypto/tls configuration that stays valid for ever, whatever changes. Certificates
// live in a [Storage] that all nodes share, sealed, and in memory:
//
//	/tripod/certs/ca               the cluster-internal authority for users' hosts: random, made once
//	/tripod/certs/internal/<host>  a certificate of that authority, for exactly this host or address
//	/tripod/certs/added/<name>     a certificate and key that a user added
//	/tripod/tickets                the three newest session ticket keys, so that sessions resume on any node
//
// All nodes make what is missing, with no leader among them: whoever creates a key first has made it, and the others take
// that one. Renewals, at two thirds of a certificate's life, compare the revision. To have a new authority made,
// and all internal certificates by it, delete its key.
//
// A handshake takes the certificate from memory, without a lock. The order is:
//
//  1. an added certificate that covers the name, exactly or by a wildcard,
//  2. the internal certificate of the name, then that of the wildcard above it,
//  3. for clients that send no name, or an unknown one: the same for the address that the client connected to; it sees
//     a name mismatch then, rather than a broken connection.
//
// A host that was configured a moment ago, and has no certificate yet, gets it within the handshake: at most two
// seconds later, shared if the storage answers, made by this node alone if it does not. Names that are not configured never
// cause work.
//
// The manager copies what it knows to a cache file, sealed as in the storage. A node whose etcd has no quorum,
// or is not up yet, serves from that.
//
// Certificates from public authorities are to come between 1 and 2: their files fit under /tripod/certs/ in the same
// storage, sealed by the same sealer, and their issuance takes a cluster-wide lock.
package tls
