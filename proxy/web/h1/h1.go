// Package h1 turns bytes into HTTP/1 messages and back, by RFC 9112 and with no leniency: whatever two programs might read
// differently is refused, since between a proxy and the server behind it such a difference lets one client's bytes be taken
// for another's request.
//
// Nothing here reads or writes a connection, waits or allocates in the usual case: functions work on the bytes that are there, and
// the strings of a message share memory with them.
//
// # What is refused that other parsers take
//
//   - a line that ends with LF alone, and a CR anywhere but before LF (§2.2)
//   - white space before the colon of a field, or before a field's name, which is a folded line (§5.1, §5.2)
//   - names that are no tokens, values with control characters (RFC 9110 §5.1, §5.5)
//   - Content-Length together with Transfer-Encoding, twice, as a list, signed, or beyond 63 bits (§6.3)
//   - Content_Length and Transfer_Encoding, which are those two to some (RFC 3875 §4.1.18)
//   - any Transfer-Encoding other than the one word "chunked", once, and in HTTP/1.0 that one too (§6.1)
//   - a request without exactly one Host, with a Host that is no authority, or that is not the target's (§3.2)
//   - bytes in a target that no URI has; a fragment; in the path also a percent sign without two digits, and %00 (RFC 3986 §2)
//   - chunk sizes that overflow or are followed by white space; anything but CRLF behind a chunk; far more framing than content (§7.1)
//   - a Trailer that announces Content-Length, Transfer-Encoding or itself (RFC 9110 §6.5.1)
//   - informational responses with content (RFC 9112 §6.1)
//   - more than 256 field lines, and as many tokens in Connection (RFC 6585 §5)
package h1

import (
	"errors"
	"fmt"
)

// Limits of what strangers can send. Heads are limited by whoever holds the buffer.
const (
	// MostFields is how many field lines a section may have.
	MostFields = 256
	// MostChunkLine is how long a chunk's first line, with its extensions, may be.
	MostChunkLine = 1 << 10
)

// ErrIncomplete means that there is nothing wrong so far, but the end is missing.
var ErrIncomplete = errors.New("the message is not complete")

// Error is a message that breaks the rules. The connection that it came on cannot be used any more: where the next message
// begins is anybody's guess.
type Error struct {
	// Status is what a client is to be told: 400 in general, 431 for too many fields, 505 for a version, 417 for an expectation.
	Status int
	// Reason says what is wrong, for a person.
	Reason string
	// Rule is where that is written.
	Rule string
}

// Error is the reason with its source.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Reason, e.Rule) }

func bad(reason, rule string) *Error { return &Error{400, reason, rule} }

// class says what a byte may be part of.
type class uint8

const (
	tokenByte  class = 1 << iota // RFC 9110 §5.6.2
	valueByte                    // of a field's value: visible, obs-text, space, tab (RFC 9110 §5.5)
	targetByte                   // of a request target, with what browsers send unescaped
	hostByte                     // of a reg-name or an IPv4 address (RFC 3986 §3.2.2), without percent-encoding
	digitByte
	hexByte
)

// classes is read only.
var classes = makeClasses()

func makeClasses() (t [256]class) {
	for c := range 256 {
		b := byte(c)
		digit := '0' <= b && b <= '9'
		letter := 'a' <= b|0x20 && b|0x20 <= 'z' && b < 0x80
		if digit {
			t[c] |= digitByte
		}
		if digit || 'a' <= b|0x20 && b|0x20 <= 'f' && letter {
			t[c] |= hexByte
		}
		if digit || letter || contains("!#$%&'*+-.^_`|~", b) {
			t[c] |= tokenByte
		}
		if b == '\t' || b >= ' ' && b != 0x7f {
			t[c] |= valueByte
		}
		if b > ' ' && b < 0x7f && !contains("#", b) {
			t[c] |= targetByte
		}
		if digit || letter || contains("-._~!$&'()*+,;=", b) {
			t[c] |= hostByte
		}
	}
	return t
}

func contains(set string, b byte) bool {
	for i := range len(set) {
		if set[i] == b {
			return true
		}
	}
	return false
}

// is tells whether all bytes of s are of a class.
func is(s string, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return true
}

// preface is what an HTTP/2 connection begins with (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// IsPreface tells whether bytes are the beginning of HTTP/2 with prior knowledge, at least of its first line.
func IsPreface(b []byte) bool {
	const line = len("PRI * HTTP/2.0\r\n")
	return len(b) >= line && string(b[:line]) == preface[:line]
}
