package web

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"

	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

// handshake is what a WebSocket over HTTP/2 lacks and a server that speaks HTTP/1.1 wants: its client has no key, since nothing can be mistaken for
// an answer there (RFC 8441 §5, RFC 6455 §4).
type handshake struct{ key string }

// appendKey appends a key to the request's head, if the request is an extended CONNECT for a WebSocket.
func (x *exchange) appendKey(b []byte) []byte {
	if !x.connects() || !message.EqualFold(x.req.Upgrade, "websocket") {
		return b
	}
	var raw [16]byte
	rand.Read(raw[:])
	x.socket.key = base64.StdEncoding.EncodeToString(raw[:])
	return h1.AppendField(b, "Sec-WebSocket-Key", x.socket.key)
}

// connects tells whether the request is an extended CONNECT, whose content is the other protocol's.
func (x *exchange) connects() bool { return x.req.Method == "CONNECT" && x.req.Upgrade != "" }

// accepted tells whether a server that changes the protocol knew our key, if there was one, and takes the fields away that are about it.
func (x *exchange) accepted() bool {
	if x.socket.key == "" {
		return true
	}
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455 §1.3
	sum := sha1.Sum([]byte(x.socket.key + guid))
	want := base64.StdEncoding.EncodeToString(sum[:])
	kept, ok := x.res.Fields[:0], false
	for _, f := range x.res.Fields {
		if message.EqualFold(f.Name, "sec-websocket-accept") {
			ok = f.Value == want
			continue
		}
		kept = append(kept, f)
	}
	x.res.Fields = kept
	return ok
}
