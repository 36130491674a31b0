package h2

// class says where an octet may stand.
type class uint8

const (
	inToken     class = 1 << iota // a token, without capital letters
	inCapital                     // a token's capital letters
	inValue                       // a field's value (RFC 9110 §5.5)
	inAuthority                   // RFC 3986 §3.2 without userinfo
	inPath                        // a path and query: visible ASCII that does not begin a fragment
	inScheme                      // RFC 3986 §3.1, in small letters
)

// classes are all octets' classes.
var classes = makeClasses()

func makeClasses() *[256]class {
	t := new([256]class)
	add := func(k class, octets string) {
		for i := range len(octets) {
			t[octets[i]] |= k
		}
	}
	const digits, small, capital = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	add(inToken, "!#$%&'*+-.^_`|~"+digits+small)
	add(inCapital, capital)
	add(inAuthority, "-._~!$&'()*+,;=:[]%"+digits+small+capital)
	add(inScheme, "+-."+digits+small)
	for c := 0x21; c < 0x7f; c++ {
		if c != '#' {
			t[c] |= inPath
		}
	}
	for c := range 256 {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= inValue
		}
	}
	return t
}

// all tells whether every octet is of one of the classes.
func all(s string, k class) bool {
	for i := range len(s) {
		if classes[s[i]]&k == 0 {
			return false
		}
	}
	return true
}

// validName is RFC 9113 §8.2.1: a token (RFC 9110 §5.1) without capital letters.
func validName(s string) bool { return s != "" && all(s, inToken) }

// validValue is RFC 9113 §8.2.1, and RFC 9110 §5.5 for control characters other than NUL, CR and LF.
func validValue(s string) bool {
	return s == "" || !blank(s[0]) && !blank(s[len(s)-1]) && all(s, inValue)
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// validToken is RFC 9110 §5.6.2, which a method is (§9.1), and a protocol's name (RFC 8441 §4).
func validToken(s string) bool { return s != "" && all(s, inToken|inCapital) }

// validScheme is RFC 3986 §3.1.
func validScheme(s string) bool {
	return s != "" && 'a' <= s[0] && s[0] <= 'z' && all(s, inScheme)
}

// validAuthority refuses what no host and port can hold, among it the deprecated userinfo (RFC 9113 §8.3.1).
func validAuthority(s string) bool { return s != "" && all(s, inAuthority) }

// validPath is RFC 9113 §8.3.1; that "*" goes with OPTIONS only is seen when the method is known.
func validPath(s string) bool {
	return s == "*" || s != "" && s[0] == '/' && all(s, inPath)
}

// parseLength reads a Content-Length (RFC 9110 §8.6).
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// sameHost tells whether a Host field says the same as :authority: in whatever case, and with or without the scheme's own port.
func sameHost(a, b, scheme string) bool {
	if a == b {
		return true
	}
	a, b = cutPort(a, scheme), cutPort(b, scheme)
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func cutPort(host, scheme string) string {
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	if n := len(host) - len(port); n > 0 && host[n:] == port {
		return host[:n]
	}
	return host
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}
