package lock

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Prefix is where all locks are in the store. The keys of a lock are below <name>/@, and no name has an @, so that the keys of a
// lock "a" are never among those of a lock "a/b".
const Prefix = "/tripod/locks/"

// MaxName is the length of the longest name, in bytes.
const MaxName = 200

// CheckName tells what is wrong with a lock's name: one or more words of letters, digits, ".", "_" and "-" with a "/" between two, MaxName
// bytes at most.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: it has %d bytes, and %d are allowed", ErrName, len(name), MaxName)
	}
	for word := range strings.SplitSeq(name, "/") {
		if word == "" {
			return fmt.Errorf("%w: %q begins or ends with a slash, or has two in a row", ErrName, name)
		}
	}
	for _, r := range name {
		if !nameRune(r) {
			return fmt.Errorf("%w: %q has %q, and only letters, digits and . _ - / are allowed", ErrName, name, r)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' || r == '/'
}

// keys are the places of one lock in the store.
type keys struct{ root string }

func keysOf(name string) keys { return keys{Prefix + name + "/@"} }

// queue is where those are who wait, each under its lease.
func (k keys) queue() string { return k.root + "queue/" }

// held is where everything about holders is.
func (k keys) held() string { return k.root + "held/" }

// exclusive is where an exclusive grant is, or a shared one that is being upgraded. No lease ends it.
func (k keys) exclusive() string { return k.root + "held/x/" }

// shared is where the grants are that let others hold too. No lease ends them.
func (k keys) shared() string { return k.root + "held/s/" }

// alive is where the signs of life of holders are, each under its lease.
func (k keys) alive() string { return k.root + "held/alive/" }

// grant is where grants of a mode are.
func (k keys) grant(mode Mode) string {
	if mode == Shared {
		return k.shared()
	}
	return k.exclusive()
}

// idBytes makes an ID that nobody else has ever had.
const idBytes = 16

// isID tells whether the last part of a key is the ID of one who wants a lock, and no word of a stranger's.
func isID(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == 2*idBytes
}
