package rule

import "strings"

// unescape reads the percent-encoding at i (RFC 3986 §2.1).
func unescape(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	high, low := unhex(s[i+1]), unhex(s[i+2])
	return high<<4 | low&15, high < 16 && low < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// next decodes one character of a raw path: what it is and how long it is written. A % that begins no encoding is itself.
func next(s string, i int) (c byte, size int) {
	if s[i] == '%' {
		if c, ok := unescape(s, i); ok {
			return c, 3
		}
	}
	return s[i], 1
}

// dots counts the decoded dots that a raw segment consists of; 0 if it has anything else, or more than two.
func dots(segment string) int {
	n := 0
	for i := 0; i < len(segment); n++ {
		c, size := next(segment, i)
		if c != '.' || n == 2 {
			return 0
		}
		i += size
	}
	return n
}

func isDot(segment string) bool    { return dots(segment) == 1 }
func isDotDot(segment string) bool { return dots(segment) == 2 }

// escapePath percent-encodes what may not stand in a path as it is (RFC 3986 §3.3).
func escapePath(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("/-._~!$&'()*+,;=:@", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
