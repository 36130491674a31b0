package rule

import (
	"strings"

	"tripod/proxy/web/message"
)

// Encode changes an answer's fields as its content is about to be compressed with e, or was not but might have been for another
// client (Identity): Content-Length is no more that of the content, nor is a digest or a range of it, an entity tag that was strong
// stands for other bytes now (RFC 9110 §8.8.1), and caches are told (§12.5.5). The values may share memory with v.
func Encode(fields []message.Field, e Encoding, v *Vars) []message.Field {
	if e != Identity {
		kept := 0
		for i := range fields {
			f := fields[i]
			if endsWithEncoding(&f) {
				continue
			}
			if f.Kind == message.Other && message.EqualFold(f.Name, "etag") && !strings.HasPrefix(f.Value, "W/") {
				start := len(v.Scratch)
				v.Scratch = append(append(v.Scratch, "W/"...), f.Value...)
				f.Value = stringOf(v.Scratch[start:])
			}
			fields[kept] = f
			kept++
		}
		clear(fields[kept:])
		fields = append(fields[:kept], message.Field{Name: "Content-Encoding", Value: e.String(), Kind: message.ContentEncoding})
	}
	for i := range fields {
		f := &fields[i]
		if f.Kind == message.Other && message.EqualFold(f.Name, "vary") &&
			(message.HasToken(f.Value, "*") || message.HasToken(f.Value, "accept-encoding")) {
			return fields
		}
	}
	return append(fields, message.Field{Name: "Vary", Value: "Accept-Encoding"})
}

// endsWithEncoding tells whether a field is about the bytes as the server sent them.
func endsWithEncoding(f *message.Field) bool {
	switch f.Kind {
	case message.ContentLength:
		return true
	case message.Other:
	default:
		return false
	}
	switch len(f.Name) {
	case 6:
		return message.EqualFold(f.Name, "digest")
	case 11:
		return message.EqualFold(f.Name, "content-md5") || message.EqualFold(f.Name, "repr-digest")
	case 13:
		return message.EqualFold(f.Name, "accept-ranges")
	case 14:
		return message.EqualFold(f.Name, "content-digest")
	}
	return false
}
