package tls

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"unicode"
	"unicode/utf8"
)

const (
	secretMin = 16   // bytes of text
	secretMax = 4096 // bytes of text

	// secretSalt separates our derivations from those of any other program given the same secret.
	// Changing it, or a label below, changes every key of every cluster.
	secretSalt       = "tripod secret v1"
	labelFingerprint = "fingerprint"
	labelSeal        = "seal aes-256-gcm"
	labelAuthority   = "authority ed25519"
	labelToken       = "token "
)

// ErrBadSecret is wrapped by the errors of ParseSecret: the text can not be a cluster secret.
var ErrBadSecret = errors.New("not a usable secret")

// Secret is the cluster secret. Everything that the nodes must agree on without talking is derived from
// it by HKDF-SHA256 (RFC 5869), each use under a label of its own, so that none tells anything of another.
// It prints as its fingerprint only. The zero Secret is not usable.
type Secret struct {
	prk []byte // HKDF-Extract of the text; the text itself is not kept
}

var (
	_ fmt.Formatter  = Secret{}
	_ slog.LogValuer = Secret{}
)

// NewSecret returns the text of a new random secret, one line without the line feed.
func NewSecret() string {
	text := make([]byte, 32)
	rand.Read(text) // never fails: crypto/rand's documentation, since Go 1.24
	return base64.RawURLEncoding.EncodeToString(text)
}

// ParseSecret takes the text of a secret: 16 to 4096 bytes of printable UTF-8 in one line. White space
// around it does not count, so that a file with and one without a final line feed agree.
func ParseSecret(text []byte) (Secret, error) {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return Secret{}, fmt.Errorf("%w: it is empty", ErrBadSecret)
	case len(text) > secretMax:
		return Secret{}, fmt.Errorf("%w: it has more than %d bytes", ErrBadSecret, secretMax)
	case utf8.RuneCount(text) < secretMin:
		return Secret{}, fmt.Errorf("%w: it has %d characters, at least %d are needed", ErrBadSecret, utf8.RuneCount(text), secretMin)
	}
	// A second line or a binary byte means that somebody named the wrong file.
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == '\n':
			return Secret{}, fmt.Errorf("%w: it has several lines, one is expected", ErrBadSecret)
		case r == utf8.RuneError && size == 1, !unicode.IsPrint(r):
			return Secret{}, fmt.Errorf("%w: byte %d is not printable text", ErrBadSecret, i+1)
		}
		i += size
	}
	prk, err := hkdf.Extract(sha256.New, text, []byte(secretSalt))
	if err != nil {
		return Secret{}, fmt.Errorf("derive from secret: %w", err)
	}
	return Secret{prk: prk}, nil
}

// ReadSecret takes the secret from a file. Its errors say what to do.
func ReadSecret(path string) (Secret, error) {
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, fmt.Errorf("secret file %s does not exist: make one with \"tripod secret new > %s\" and put the same file on every node: %w", path, path, fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return Secret{}, fmt.Errorf("secret file %s may not be read by this user: %w", path, fs.ErrPermission)
	case err != nil:
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	defer file.Close()
	// White space around the text is free, but not without bound.
	text, err := io.ReadAll(io.LimitReader(file, 2*secretMax+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	if len(text) > 2*secretMax {
		return Secret{}, fmt.Errorf("secret file %s: %w: it has more than %d bytes", path, ErrBadSecret, secretMax)
	}
	secret, err := ParseSecret(text)
	if err != nil {
		return Secret{}, fmt.Errorf("secret file %s: %w: make a good one with \"tripod secret new > %s\" and put the same file on every node", path, err, path)
	}
	return secret, nil
}

// Fingerprint returns 8 hexadecimal digits by which people can compare secrets. It is safe to log.
func (s Secret) Fingerprint() string {
	return hex.EncodeToString(s.fingerprint())
}

func (s Secret) fingerprint() []byte { return s.derive(labelFingerprint, 4) }

// Token returns 32 bytes that depend on the secret and the label only: for whatever else the nodes must
// share, such as the etcd cluster token or the key of sticky cookies.
func (s Secret) Token(label string) []byte { return s.derive(labelToken+label, 32) }

func (s Secret) derive(label string, length int) []byte {
	if s.prk == nil {
		panic("tls: use of the zero Secret")
	}
	key, err := hkdf.Expand(sha256.New, s.prk, label, length)
	if err != nil {
		panic("tls: hkdf: " + err.Error()) // only for lengths above 255 hashes
	}
	return key
}

// Format prints the fingerprint, whatever the verb: a secret must not reach a log by accident.
func (s Secret) Format(w fmt.State, _ rune) {
	if s.prk == nil {
		io.WriteString(w, "secret(none)")
		return
	}
	io.WriteString(w, "secret("+s.Fingerprint()+")")
}

// LogValue is the fingerprint.
func (s Secret) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }
