package tls

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestSealer(t *testing.T) {
	sealer, other := mustSecret(t, oneSecret).Sealer(), mustSecret(t, otherSecret).Sealer()
	plain := []byte("the private key")
	sealed := sealer.Seal("/a", plain)
	if bytes.Contains(sealed, plain) {
		t.Fatal("not encrypted")
	}
	if bytes.Equal(sealed, sealer.Seal("/a", plain)) {
		t.Fatal("a nonce was used twice")
	}
	got, err := mustSecret(t, oneSecret).Sealer().Open("/a", sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := sealer.Open("/e", sealer.Seal("/e", nil)); err != nil || len(got) != 0 {
		t.Errorf("empty: %q, %v", got, err)
	}
	if _, err := sealer.Open("/b", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("moved to another key: %v", err)
	}
	_, err = other.Open("/a", sealed)
	if !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), mustSecret(t, otherSecret).Fingerprint()) || !strings.Contains(err.Error(), mustSecret(t, oneSecret).Fingerprint()) {
		t.Errorf("other secret: %v", err)
	}
	for bit := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := sealer.Open("/a", bad); !errors.Is(err, ErrSealed) && !errors.Is(err, ErrWrongKey) {
			t.Fatalf("bit %d turned: %v", bit, err)
		}
	}
	for length := range len(sealed) {
		if _, err := sealer.Open("/a", sealed[:length]); !errors.Is(err, ErrSealed) {
			t.Fatalf("cut to %d: %v", length, err)
		}
	}
}

func FuzzSealerOpen(f *testing.F) {
	sealer := mustSecret(f, oneSecret).Sealer()
	good := sealer.Seal("/a", []byte("plain"))
	f.Add("/a", good)
	f.Add("/b", good)
	f.Add("", []byte{})
	f.Add("/a", good[:len(good)-1])
	f.Add("/a", mustSecret(f, otherSecret).Sealer().Seal("/a", nil))
	f.Fuzz(func(t *testing.T, name string, sealed []byte) {
		plain, err := sealer.Open(name, sealed)
		// The fuzzer's processes have different nonces, so that sealed can not be compared.
		if err == nil && (name != "/a" || string(plain) != "plain") {
			t.Fatalf("forged %q for %q", plain, name)
		}
		if err != nil && !errors.Is(err, ErrSealed) && !errors.Is(err, ErrWrongKey) {
			t.Fatalf("unexpected error %v", err)
		}
	})
}
