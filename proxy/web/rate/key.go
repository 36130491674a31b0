package rate

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/dchest/siphash"
)

// Hasher makes keys of what requests are told apart by. It is the same on all nodes that have the same secret.
type Hasher struct{ k0, k1 uint64 }

// NewHasher makes a hasher of a secret of any length.
func NewHasher(secret []byte) Hasher {
	sum := sha256.Sum256(append([]byte("tripod rate limits "), secret...))
	return Hasher{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

// Text is the key of a text.
func (h Hasher) Text(s string) uint64 {
	return siphash.Hash(h.k0, h.k1, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// Client is the key of a client's address. An IPv6 client has a network of 64 bits to choose addresses from (RFC 4291 §2.5.1), so that is what counts.
// A client without an address has a key as well.
func (h Hasher) Client(a netip.Addr) uint64 {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return siphash.Hash(h.k0, h.k1, b[:])
	}
	b := a.As16()
	return siphash.Hash(h.k0, h.k1, b[:8])
}
