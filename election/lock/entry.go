package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Mode is how a lock is held.
type Mode string

// The modes.
const (
	// Exclusive: nobody else holds.
	Exclusive Mode = "exclusive"
	// Shared: others may hold too, if they share: all of them, or as many as there are permits.
	Shared Mode = "shared"
)

const (
	// longestEntry bounds what is parsed.
	longestEntry = 4096
	// longestCommand is how much of a command is kept, in bytes; even if JSON makes six of each there is room for the rest.
	longestCommand = 400
	// longestWord bounds the holder's and the host's name, in bytes.
	longestWord = 100
	// MaxPermits is the most that a semaphore may have.
	MaxPermits = 1000
	// longestHold bounds for how long the others wait for one that has shown no sign of life.
	longestHold = MaxTTL
)

// Entry is the value of a key in a lock's queue, or of a grant. But for Mode, Permits and Hold it is for people.
type Entry struct {
	// Holder says who holds or waits.
	Holder string `json:"holder,omitempty"`
	// Host is the machine.
	Host string `json:"host,omitempty"`
	// Command is what the lock is for.
	Command string `json:"command,omitempty"`
	// Since is when it was granted, or when the waiting began, by the clock of who wrote it.
	Since time.Time `json:"since,omitzero"`
	// Mode is how the lock is held.
	Mode Mode `json:"mode"`
	// Permits is how many may hold together, where users count; 0 is no such number.
	Permits int `json:"permits,omitempty"`
	// Upgrading tells that a shared holder waits to be the only one.
	Upgrading bool `json:"upgrading,omitempty"`
	// Hold is for how long after its last sign of life one may go on holding, in milliseconds.
	Hold int64 `json:"hold_ms"`
}

// ParseEntry reads a stored value. What is not of the form has no effect on a lock.
func ParseEntry(value []byte) (Entry, error) {
	if len(value) > longestEntry {
		return Entry{}, fmt.Errorf("the value has %d bytes, more than the %d allowed", len(value), longestEntry)
	}
	var e Entry
	if err := json.Unmarshal(value, &e); err != nil {
		return Entry{}, fmt.Errorf(`the value is not of the form {"mode": "exclusive", "hold_ms": 2857}: %w`, err)
	}
	switch {
	case e.Mode != Exclusive && e.Mode != Shared:
		return Entry{}, fmt.Errorf("mode %q is neither %q nor %q", e.Mode, Exclusive, Shared)
	case e.Permits < 0 || e.Permits > MaxPermits:
		return Entry{}, fmt.Errorf("permits %d is not between 0 and %d", e.Permits, MaxPermits)
	case e.Mode == Exclusive && e.Permits != 0:
		return Entry{}, errors.New("an exclusive lock has no permits")
	case e.Hold <= 0 || e.Hold > longestHold.Milliseconds():
		return Entry{}, fmt.Errorf("hold_ms %d is not between 1 and %d", e.Hold, longestHold.Milliseconds())
	}
	return e, nil
}

// text is what is stored.
func (e Entry) text() string {
	e.Holder, e.Host, e.Command = cut(e.Holder, longestWord), cut(e.Host, longestWord), cut(e.Command, longestCommand)
	bytes, err := json.Marshal(e)
	if err != nil { // only a time beyond the year 9999 has no form
		e.Since = time.Time{}
		bytes, _ = json.Marshal(e)
	}
	return string(bytes)
}

// cut shortens a text for people, at the beginning of a character.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// hold is for how long its right may outlast the last sign of life.
func (e Entry) hold() time.Duration { return time.Duration(e.Hold) * time.Millisecond }

// kind says how a lock is used. All users of one name must agree on the permits.
func (e Entry) kind() string {
	if e.Permits > 0 {
		return fmt.Sprintf("a semaphore of %d permits", e.Permits)
	}
	return "an exclusive or shared lock"
}

// String says who and what, in one line, whatever strangers have written.
func (e Entry) String() string {
	who := e.Holder
	if who == "" {
		who = "somebody"
	}
	if e.Host != "" {
		who += " on " + e.Host
	}
	if !e.Since.IsZero() {
		who += " since " + e.Since.Format(time.RFC3339)
	}
	if e.Command != "" {
		who += fmt.Sprintf(" (%s)", e.Command)
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, who)
}
