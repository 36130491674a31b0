package tls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// A sealed value is one line of text, so that etcdctl can show it and a person sees which secret it needs:
//
//	sealed:<fingerprint>:<base64 of the nonce, then the ciphertext with its tag>
const (
	sealPrefix = "sealed:"
	sealIDSize = 4
	sealNonce  = 12
	sealTag    = 16
)

var (
	// ErrWrongKey means that a value was sealed under another secret.
	ErrWrongKey = errors.New("sealed under another secret")
	// ErrSealed means that a value is not what was sealed under this name: damaged, forged, moved from
	// another key, or never sealed at all.
	ErrSealed = errors.New("sealed value is damaged or does not belong here")
)

// Sealer encrypts what the nodes share through etcd and what they keep on disk. It is AES-256-GCM under a
// key derived from the secret; random nonces are good for 2^32 values (NIST SP 800-38D §8.3). The name under
// which a value is kept is authenticated with it, so that values can not be swapped. Safe for
// concurrent use.
type Sealer struct {
	aead   cipher.AEAD
	header string // with the secret's fingerprint
}

// Sealer returns the sealer of this secret.
func (s Secret) Sealer() *Sealer {
	block, err := aes.NewCipher(s.derive(labelSeal, 32))
	if err != nil {
		panic("tls: " + err.Error()) // only for a wrong key length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("tls: " + err.Error()) // only for a wrong block size
	}
	return &Sealer{aead: aead, header: sealPrefix + s.Fingerprint() + ":"}
}

// Seal encrypts plain for the name under which it will be kept. Nil stands for empty.
func (sl *Sealer) Seal(name string, plain []byte) []byte {
	box := make([]byte, sealNonce, sealNonce+len(plain)+sealTag)
	rand.Read(box)
	box = sl.aead.Seal(box, box, plain, []byte(sl.header+name))
	out := make([]byte, 0, len(sl.header)+base64.RawStdEncoding.EncodedLen(len(box)))
	return base64.RawStdEncoding.AppendEncode(append(out, sl.header...), box)
}

// Open decrypts what Seal made for the same name. It fails with ErrWrongKey or ErrSealed.
func (sl *Sealer) Open(name string, sealed []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(sealed, []byte(sl.header))
	if !ok {
		if id := otherSeal(sealed); id != "" {
			return nil, fmt.Errorf("open %s: %w: ours is %s, its is %s", name, ErrWrongKey, otherSeal([]byte(sl.header)), id)
		}
		return nil, fmt.Errorf("open %s: %w", name, ErrSealed)
	}
	box, err := base64.RawStdEncoding.Strict().AppendDecode(nil, text)
	if err != nil || len(box) < sealNonce+sealTag {
		return nil, fmt.Errorf("open %s: %w", name, ErrSealed)
	}
	plain, err := sl.aead.Open(nil, box[:sealNonce], box[sealNonce:], []byte(sl.header+name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, ErrSealed)
	}
	return plain, nil
}

// otherSeal is the fingerprint in a sealed value's header; empty if it has none.
func otherSeal(sealed []byte) string {
	rest, ok := bytes.CutPrefix(sealed, []byte(sealPrefix))
	if !ok || len(rest) <= 2*sealIDSize || rest[2*sealIDSize] != ':' {
		return ""
	}
	id := rest[:2*sealIDSize]
	if _, err := hex.DecodeString(string(id)); err != nil {
		return ""
	}
	return string(id)
}
