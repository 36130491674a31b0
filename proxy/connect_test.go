package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"golang.org/x/net/http2"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// socketServer is an ordinary WebSocket server, which knows HTTP/1.1 only.
func socketServer(t *testing.T, ended chan<- error) http.HandlerFunc {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"chat"}}
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refused":
			http.Error(w, "not you", http.StatusForbidden)
			return
		case "/ignored":
			io.WriteString(w, "an ordinary answer")
			return
		case "/unknown", "/other":
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			protocol := "websocket"
			if r.URL.Path == "/other" {
				protocol = "h2c"
			}
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+
				"\r\nSec-WebSocket-Accept: c29tZWJvZHkgZWxzZSdzIGtleQ==\r\n\r\n")
			return
		}
		c, err := up.Upgrade(w, r, http.Header{"X-Extra": {"1"}, "X-Keys": {strings.Join(r.Header.Values("Sec-WebSocket-Key"), ",")}})
		if err != nil {
			ended <- err
			return
		}
		defer c.Close()
		if r.URL.Path == "/closes" {
			c.WriteMessage(websocket.TextMessage, []byte("bye"))
			return
		}
		for {
			kind, m, err := c.ReadMessage()
			if err != nil {
				ended <- err
				return
			}
			c.WriteMessage(kind, append([]byte("echo "), m...))
		}
	}
}

// connect asks for a WebSocket over HTTP/2 (RFC 8441).
func (c *frames) connect(id uint32, path string, fields ...string) map[string]string {
	c.t.Helper()
	c.open(id, false, append([]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", path, ":authority", "a.test",
		"sec-websocket-version", "13", "origin", "https://a.test"}, fields...)...)
	return c.head(id)
}

// masked is a short frame of a WebSocket, as clients send them (RFC 6455 §5.2).
func masked(opcode byte, text string) string {
	b := []byte{0x80 | opcode, 0x80 | byte(len(text)), 1, 2, 3, 4}
	for i := range len(text) {
		b = append(b, text[i]^byte(1+i&3))
	}
	return string(b)
}

// stream reads n bytes of a stream's content.
func (c *frames) stream(id uint32, n int) string {
	c.t.Helper()
	var b bytes.Buffer
	for b.Len() < n {
		switch f := c.read().(type) {
		case *http2.DataFrame:
			if f.StreamID != id {
				continue
			}
			b.Write(f.Data())
			if f.StreamEnded() && b.Len() < n {
				c.t.Fatalf("the stream ended: %q", b.String())
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				c.t.Fatalf("reset: %v", f.ErrCode)
			}
		}
	}
	return b.String()
}

func TestWebSocketOverHTTP2(t *testing.T) {
	ended := make(chan error, 1)
	w := newWay(t, socketServer(t, ended), true, upstream.HTTP, nil)
	c := newFrames(t, w.at)
	want(t, "announced", c.protocols, true)
	head := c.connect(1, "/ws", "sec-websocket-protocol", "chat", "sec-websocket-key", "the client's own is not meant to be here")
	want(t, "status", head[":status"], "200")
	want(t, "extra field", head["x-extra"], "1")
	want(t, "subprotocol", head["sec-websocket-protocol"], "chat")
	want(t, "keys at the server", len(head["x-keys"]), 24)
	for _, name := range []string{"sec-websocket-accept", "upgrade", "connection"} {
		if value, there := head[name]; there {
			t.Errorf("%s: %s", name, value)
		}
	}
	for _, text := range []string{"a", "bc", strings.Repeat("d", 100)} {
		c.data(1, masked(1, text), false)
		want(t, "echo", c.stream(1, 2+len("echo ")+len(text))[2:], "echo "+text)
		w.apply(w.config) // disturbs nothing
	}
	// Closed by the client, with a closing frame and then the stream's end.
	c.data(1, masked(8, "\x03\xe8"), true)
	if text, whole := c.content(1); !whole || !strings.HasPrefix(text, "\x88") {
		t.Errorf("closing: %q, %v", text, whole)
	}
	if err := <-ended; !websocket.IsCloseError(err, 1000) {
		t.Errorf("server: %v", err)
	}
	eventually(t, "no request", func() bool { return w.p.Status().Services[0].Servers[0].Active == 0 })
	w.logged(t, `"protocol":"HTTP/2.0"`, `"path":"/ws"`)

	// Closed by the server.
	want(t, "status", c.connect(3, "/closes")[":status"], "200")
	if text, whole := c.content(3); !whole || text != "\x81\x03bye" {
		t.Errorf("%q, %v", text, whole)
	}
	c.data(3, "", true)
	// Taken back by the client.
	want(t, "status", c.connect(5, "/ws")[":status"], "200")
	c.WriteRSTStream(5, http2.ErrCodeCancel)
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	eventually(t, "no request", func() bool { return w.p.Status().Services[0].Servers[0].Active == 0 })
	// The connection has other streams beside it.
	want(t, "status", c.connect(7, "/ws")[":status"], "200")
	c.open(9, true, ":method", "GET", ":scheme", "https", ":path", "/ignored", ":authority", "a.test")
	want(t, "another stream", c.head(9)[":status"], "200")
	c.data(7, masked(1, "x"), false)
	want(t, "echo", c.stream(7, 8), "\x81\x06echo x")
}

func TestWebSocketOverHTTP2ThatIsNone(t *testing.T) {
	w := newWay(t, socketServer(t, make(chan error, 1)), true, upstream.HTTP, func(c *Config) {
		c.Services["h2c"] = upstream.Config{Servers: service(bilingual(t, dump)).Servers, Protocol: upstream.H2C}
		c.Routes = append(c.Routes,
			RouteConfig{Path: "/h2c", Service: "h2c"},
			RouteConfig{Path: "/denied", Service: "web", Rules: rule.Config{Deny: []string{"0.0.0.0/0"}}},
			RouteConfig{Path: "/answer", Rules: rule.Config{Respond: &rule.RespondConfig{Status: 404, Body: "none"}}})
	})
	c := newFrames(t, w.at)
	for i, tt := range []struct{ path, status, text string }{
		{"/refused", "403", "not you\n"},     // the server's word
		{"/ignored", "502", "502 Bad"},       // a 200 would mean that the stream is the WebSocket's now
		{"/unknown", "502", "502 Bad"},       // another key's answer: something else has answered
		{"/other", "502", "502 Bad"},         // a protocol that nobody asked for
		{"/h2c", "502", "502 Bad"},           // cannot be
		{"/denied", "403", "403 Forbidden:"}, // rules hold here too
		{"/answer", "404", "none"},
	} {
		id := uint32(2*i + 1)
		want(t, tt.path, c.connect(id, tt.path)[":status"], tt.status)
		if text, _ := c.content(id); !strings.HasPrefix(text, tt.text) {
			t.Errorf("%s: %q", tt.path, text)
		}
	}
}
