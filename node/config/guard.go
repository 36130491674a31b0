package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest document, in bytes. It is stored in one key of etcd, whose requests are bounded.
const MaxSize = 2 << 20

// guard checks the raw bytes for what the reader should not see, and returns them without a byte order mark.
// The problem, if there is one, is returned with its place.
func guard(text []byte) ([]byte, *node, string) {
	if len(text) > MaxSize {
		return nil, nil, tooLarge(len(text))
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if n, message := badCharacter(text); message != "" {
		return nil, n, message
	}
	return text, nil, ""
}

func tooLarge(size int) string {
	return fmt.Sprintf("document is %s; the limit is 2 MiB", mebibytes(size))
}

// mebibytes rounds up, so that a document just over the limit does not read as being at it.
func mebibytes(size int) string {
	tenths := (size*10 + 1<<20 - 1) >> 20
	return fmt.Sprintf("%d.%d MiB", tenths/10, tenths%10)
}

// badCharacter finds the first character that YAML forbids (1.2 §5.1), or that some of its readers take for the end of a line and
// others, and all editors, do not (§5.4): behind it lines would be miscounted.
func badCharacter(text []byte) (*node, string) {
	line, column := 1, 1
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		switch {
		case c == '\n':
			line, column = line+1, 0
		case c == '\t':
		case c == '\r':
			if i+1 == len(text) || text[i+1] != '\n' {
				return &node{line: line, column: column}, "carriage return within a line; save the file with line ends of Unix or Windows"
			}
		case c < ' ' || c == 0x7f:
			return &node{line: line, column: column}, fmt.Sprintf("control character %#02x is not allowed in a document", c)
		case c >= utf8.RuneSelf:
			b := c
			if c, size = utf8.DecodeRune(text[i:]); c == utf8.RuneError && size <= 1 {
				return &node{line: line, column: column}, fmt.Sprintf("byte %#02x is not valid UTF-8; save the file as UTF-8", b)
			}
			if c < 0xa0 || strings.ContainsRune("\u2028\u2029\ufeff\ufffe\uffff", c) {
				return &node{line: line, column: column}, fmt.Sprintf("character %U is not allowed in a document", c)
			}
		}
		i += size
		column++
	}
	return nil, ""
}
