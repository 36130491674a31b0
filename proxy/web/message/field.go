package message

// Field is one field line of a header or trailer section, in the order and spelling in which it came. The strings may share memory
// with a connection's buffer: they are good until the message that they belong to has been answered, and whoever keeps one longer
// makes a copy (strings.Clone).
type Field struct {
	Name, Value string
	// Kind tells the fields that a proxy has to know from all others, so that names are compared once.
	Kind Kind
}

// Kind is what a field means to a proxy.
type Kind uint8

// The fields that are more to a proxy than something to pass on.
const (
	Other Kind = iota // passed on as it is

	// Framing and routing (RFC 9112 §6, RFC 9110 §7.2).
	ContentLength
	TransferEncoding
	Host

	// About one connection only (RFC 9110 §7.6.1), with those that some clients send in spite of the standard.
	Connection
	KeepAlive
	ProxyAuthenticate
	ProxyAuthorization
	ProxyConnection
	TE
	Upgrade
	HTTP2Settings

	Expect
	Trailer // which fields follow the content; it goes with them (RFC 9110 §6.6.2)

	// About the client's end of the way, which only the proxy tells a server: every X-Forwarded-…, for frameworks heed more of
	// them than anybody lists, Forwarded, X-Real-Ip and X-Request-Id; with underscores too, since servers that hand
	// fields on as CGI variables cannot tell them from hyphens (RFC 3875 §4.1.18).
	Provenance

	// Passed on, but looked at on the way.
	Cookie
	SetCookie
	Authorization
	ContentType
	ContentEncoding
	AcceptEncoding
	CacheControl
	Date
	Server
	UserAgent
	Location
	Priority
)

// HopByHop tells whether a field of this kind ends at the proxy, whatever Connection says.
func (k Kind) HopByHop() bool { return k >= Connection && k <= HTTP2Settings || k == TransferEncoding }

// KindOf finds out a name's kind, in whatever case it is written.
func KindOf(name string) Kind {
	if name == "" {
		return Other
	}
	switch name[0] | 0x20 {
	case 'x':
		if folded(name, "x-forwarded-", true) || folded(name, "x-real-ip", false) || folded(name, "x-request-id", false) {
			return Provenance
		}
		return Other
	case 'f':
		if folded(name, "forwarded", false) {
			return Provenance
		}
		return Other
	}
	if len(name) <= 8 {
		return shortKind(name)
	}
	return longKind(name)
}

func shortKind(name string) Kind {
	switch len(name) {
	case 2:
		return either(name, "te", TE)
	case 4:
		switch name[0] | 0x20 {
		case 'h':
			return either(name, "host", Host)
		case 'd':
			return either(name, "date", Date)
		}
	case 6:
		switch name[0] | 0x20 {
		case 'c':
			return either(name, "cookie", Cookie)
		case 'e':
			return either(name, "expect", Expect)
		case 's':
			return either(name, "server", Server)
		}
	case 7:
		switch name[0] | 0x20 {
		case 'u':
			return either(name, "upgrade", Upgrade)
		case 't':
			return either(name, "trailer", Trailer)
		}
	case 8:
		switch name[0] | 0x20 {
		case 'l':
			return either(name, "location", Location)
		case 'p':
			return either(name, "priority", Priority)
		}
	}
	return Other
}

func longKind(name string) Kind {
	switch len(name) {
	case 10:
		switch name[0] | 0x20 {
		case 'c':
			return either(name, "connection", Connection)
		case 'k':
			return either(name, "keep-alive", KeepAlive)
		case 's':
			return either(name, "set-cookie", SetCookie)
		case 'u':
			return either(name, "user-agent", UserAgent)
		}
	case 12:
		return either(name, "content-type", ContentType)
	case 13:
		switch name[0] | 0x20 {
		case 'a':
			return either(name, "authorization", Authorization)
		case 'c':
			return either(name, "cache-control", CacheControl)
		}
	case 14:
		switch name[0] | 0x20 {
		case 'c':
			return either(name, "content-length", ContentLength)
		case 'h':
			return either(name, "http2-settings", HTTP2Settings)
		}
	case 15:
		return either(name, "accept-encoding", AcceptEncoding)
	case 16:
		switch name[0] | 0x20 {
		case 'c':
			return either(name, "content-encoding", ContentEncoding)
		case 'p':
			return either(name, "proxy-connection", ProxyConnection)
		}
	case 17:
		return either(name, "transfer-encoding", TransferEncoding)
	case 18:
		return either(name, "proxy-authenticate", ProxyAuthenticate)
	case 19:
		return either(name, "proxy-authorization", ProxyAuthorization)
	}
	return Other
}

func either(name, lower string, k Kind) Kind {
	if EqualFold(name, lower) {
		return k
	}
	return Other
}

// EqualFold tells whether a name is the same as lower, which is written in small letters, in whatever case. Only ASCII letters
// have case in HTTP.
func EqualFold(name, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// folded is EqualFold that takes an underscore for a hyphen; with prefix the name may go on.
func folded(name, lower string, prefix bool) bool {
	if len(name) < len(lower) || len(name) > len(lower) && !prefix {
		return false
	}
	for i := range len(lower) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		} else if c == '_' {
			c = '-'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// MayTrail tells whether a field is passed on in a trailer section: not what a recipient may heed wherever it finds it, and
// what must not come after the content (RFC 9110 §6.5.1): framing, routing, authentication and how to read the content.
func MayTrail(f Field) bool {
	switch f.Kind {
	case Other:
		return !EqualFold(f.Name, "content-range") && !EqualFold(f.Name, "max-forwards") && !EqualFold(f.Name, "www-authenticate")
	case Date, Server, Location, Priority, UserAgent:
		return true
	}
	return false
}

// NextToken cuts the next element off a comma-separated list (RFC 9110 §5.6.1), without white space around it. Empty elements
// are left out. ok is false when there is none.
func NextToken(list string) (token, rest string, ok bool) {
	for list != "" {
		end := 0
		for end < len(list) && list[end] != ',' {
			end++
		}
		token, rest = TrimOWS(list[:end]), ""
		if end < len(list) {
			rest = list[end+1:]
		}
		if token != "" {
			return token, rest, true
		}
		list = rest
	}
	return "", "", false
}

// HasToken tells whether a comma-separated list has an element, which is given in small letters.
func HasToken(list, lower string) bool {
	for token, rest, ok := NextToken(list); ok; token, rest, ok = NextToken(rest) {
		if EqualFold(token, lower) {
			return true
		}
	}
	return false
}

// TrimOWS cuts optional white space off both ends (RFC 9110 §5.6.3).
func TrimOWS(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
