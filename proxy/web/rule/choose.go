package rule

import (
	"strings"

	"tripod/proxy/web/message"
)

// Encoding is how content is compressed.
type Encoding uint8

// The encodings that tripod has.
const (
	Identity Encoding = iota // not at all
	Gzip                     // RFC 1952
	Zstd                     // RFC 8878
	Brotli                   // RFC 7932
	encodings
)

// String is the encoding's name in Content-Encoding (RFC 9110 §8.4.1).
func (e Encoding) String() string {
	switch e {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case Brotli:
		return "br"
	}
	return "identity"
}

func encodingOf(name string) (Encoding, bool) {
	switch name {
	case "gzip":
		return Gzip, true
	case "zstd":
		return Zstd, true
	case "br":
		return Brotli, true
	}
	return Identity, false
}

// minCompressed is the content below which compressing costs more than it saves: it fits into one packet as it is.
const minCompressed = 1 << 10

// Compresses tells whether answers may be compressed at all.
func (r *Rules) Compresses() bool { return r != nil && len(r.encodings) > 0 }

// Choose says how an answer's content is compressed for a client that sent acceptEncoding (several lines of it joined with
// commas). Length is that of the content, or message.Unknown. An answer to HEAD is treated as that to GET, so that
// its fields are the same (RFC 9110 §9.3.2). Varies tells that another client might get this answer otherwise, so that Vary
// has to say so, also if the encoding is Identity.
//
// Not compressed is what has an encoding already, what says no-transform (RFC 9110 §7.7), parts of a content (§14), small
// content, and what does not get smaller: images, video, archives. Neither is text/event-stream: it may stand open for days, and
// what every open stream keeps in memory for a compressor is far more than it saves.
func (r *Rules) Choose(acceptEncoding string, status int, length int64, fields []message.Field) (e Encoding, varies bool) {
	if !r.Compresses() || !compressible(status, length, fields) {
		return Identity, false
	}
	return r.preferred(acceptEncoding), true
}

// compressible looks at the answer alone.
func compressible(status int, length int64, fields []message.Field) bool {
	if status < 200 || status == 204 || status == 205 || status == 206 || status == 304 {
		return false
	}
	if length != message.Unknown && length < minCompressed {
		return false
	}
	typed := false
	for i := range fields {
		f := &fields[i]
		switch f.Kind {
		case message.ContentEncoding:
			return false
		case message.CacheControl:
			if message.HasToken(f.Value, "no-transform") {
				return false
			}
		case message.ContentType:
			if typed || !compressibleType(f.Value) {
				return false
			}
			typed = true
		case message.Other:
			if message.EqualFold(f.Name, "content-range") {
				return false
			}
		}
	}
	return typed
}

// compressibleType tells whether content of a media type is text in one way or another.
func compressibleType(value string) bool {
	if i := strings.IndexByte(value, ';'); i >= 0 {
		value = value[:i]
	}
	value = message.TrimOWS(value)
	slash := strings.IndexByte(value, '/')
	if slash < 0 {
		return false
	}
	kind, sub := value[:slash], value[slash+1:]
	if message.EqualFold(kind, "text") {
		return !message.EqualFold(sub, "event-stream")
	}
	if len(sub) >= 4 && message.EqualFold(sub[:4], "grpc") { // has its own compression, and clients that know no other
		return false
	}
	if i := strings.LastIndexByte(sub, '+'); i >= 0 && (message.EqualFold(sub[i:], "+json") || message.EqualFold(sub[i:], "+xml") ||
		message.EqualFold(sub[i:], "+yaml") || message.EqualFold(sub[i:], "+text")) {
		return true
	}
	for _, t := range compressibleTypes {
		if message.EqualFold(value, t) {
			return true
		}
	}
	return false
}

// compressibleTypes are those beside text/… and what ends in +json or +xml.
var compressibleTypes = [...]string{
	"application/json", "application/javascript", "application/x-javascript", "application/ecmascript", "application/xml", "application/wasm",
	"application/x-ndjson", "application/jsonl", "application/yaml", "application/x-yaml", "application/toml", "application/graphql",
	"application/sql", "application/rtf", "application/postscript", "application/x-sh", "application/vnd.ms-fontobject",
	"application/x-protobuf", "application/protobuf", "application/vnd.api+json",
	"font/ttf", "font/otf", "application/x-font-ttf", "application/x-font-opentype",
	"image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
}

// preferred is the encoding with the greatest quality, of several the one that the document has first (RFC 9110 §12.5.3).
func (r *Rules) preferred(accept string) Encoding {
	var quality [encodings]int // in thousandths; -1 is not named
	for i := range quality {
		quality[i] = -1
	}
	others := -1 // of *
	for token, rest, ok := message.NextToken(accept); ok; token, rest, ok = message.NextToken(rest) {
		name, q, ok := weighted(token)
		if !ok {
			continue
		}
		switch {
		case name == "*":
			others = q
		case message.EqualFold(name, "gzip"), message.EqualFold(name, "x-gzip"):
			quality[Gzip] = q
		case message.EqualFold(name, "zstd"):
			quality[Zstd] = q
		case message.EqualFold(name, "br"):
			quality[Brotli] = q
		case message.EqualFold(name, "identity"):
			quality[Identity] = q
		}
	}
	best, most := Identity, 0
	for _, e := range r.encodings {
		q := quality[e]
		if q < 0 {
			q = others
		}
		if q > most {
			best, most = e, q
		}
	}
	if quality[Identity] > most { // a client that asks for identity rather than ours
		return Identity
	}
	return best
}

// weighted splits an element such as "gzip;q=0.5" (RFC 9110 §12.4.2). One that is not valid is as good as none.
func weighted(token string) (name string, q int, ok bool) {
	semi := strings.IndexByte(token, ';')
	if semi < 0 {
		return token, 1000, true
	}
	name, weight := message.TrimOWS(token[:semi]), message.TrimOWS(token[semi+1:])
	if len(weight) < 3 || weight[0]|0x20 != 'q' || weight[1] != '=' {
		return "", 0, false
	}
	weight = weight[2:]
	if len(weight) > 5 || weight[0] != '0' && weight[0] != '1' || len(weight) > 1 && weight[1] != '.' {
		return "", 0, false
	}
	q = int(weight[0]-'0') * 1000
	for i, scale := 2, 100; i < len(weight); i, scale = i+1, scale/10 {
		if weight[i] < '0' || weight[i] > '9' {
			return "", 0, false
		}
		q += int(weight[i]-'0') * scale
	}
	return name, q, q <= 1000
}
