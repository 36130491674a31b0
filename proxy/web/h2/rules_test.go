package h2_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/message"
)

// Malformed requests cost their stream, and not the connection (RFC 9113 §8.1.1).
func TestMalformed(t *testing.T) {
	pseudo := func(method, scheme, path, authority string) []string {
		return []string{":method: " + method, ":scheme: " + scheme, ":path: " + path, ":authority: " + authority}
	}
	cases := map[string][]string{
		"capital letter":             with(get, "Name: v"),
		"space in name":              with(get, "na me: v"),
		"empty name":                 nil, // below
		"NUL in value":               with(get, "name: a\x00b"),
		"CR in value":                with(get, "name: a\rb"),
		"LF in value":                with(get, "name: a\nb"),
		"DEL in value":               with(get, "name: a\x7fb"),
		"leading space":              with(get, "name:  v"),
		"trailing tab":               with(get, "name: v\t"),
		"pseudo-field late":          with(get[:3], "name: v", get[3]),
		"pseudo-field after host":    with(get[:3], "host: h2.test", get[3]),
		"pseudo-field twice":         with(get, ":path: /"),
		"pseudo-field unknown":       with(get, ":name: v"),
		"pseudo-field of an answer":  with(get, ":status: 200"),
		"no method":                  get[1:],
		"no scheme":                  with(get[:1], get[2:]...),
		"no path":                    with(get[:2], get[3:]...),
		"method no token":            pseudo("GE T", "http", "/", "a"),
		"empty method":               pseudo("", "http", "/", "a"),
		"scheme no scheme":           pseudo("GET", "ht tp", "/", "a"),
		"empty path":                 pseudo("GET", "http", "", "a"),
		"path without slash":         pseudo("GET", "http", "path", "a"),
		"absolute path":              pseudo("GET", "http", "http://a/", "a"),
		"asterisk without OPTIONS":   pseudo("GET", "http", "*", "a"),
		"space in path":              pseudo("GET", "http", "/a b", "a"),
		"fragment":                   pseudo("GET", "http", "/a#b", "a"),
		"octet in path":              pseudo("GET", "http", "/\xe4", "a"),
		"userinfo":                   pseudo("GET", "http", "/", "u@a"),
		"path in authority":          pseudo("GET", "http", "/", "a/b"),
		"empty authority":            pseudo("GET", "http", "/", ""),
		"no authority":               get[:3],
		"empty host":                 with(get[:3], "host: "),
		"two hosts":                  with(get[:3], "host: a", "host: a"),
		"another host":               with(get, "host: evil.test"),
		"connection":                 with(get, "connection: close"),
		"keep-alive":                 with(get, "keep-alive: 1"),
		"proxy-connection":           with(get, "proxy-connection: close"),
		"transfer-encoding":          with(get, "transfer-encoding: chunked"),
		"upgrade":                    with(get, "upgrade: websocket"),
		"te":                         with(get, "te: trailers, deflate"),
		"CONNECT with path":          pseudo("CONNECT", "http", "/", "a"),
		"CONNECT without authority":  {":method: CONNECT"},
		"protocol without CONNECT":   with(get, ":protocol: websocket"),
		"content-length no number":   with(get, "content-length: +1"),
		"content-length twice":       with(get, "content-length: 0", "content-length: 0"),
		"content-length too long":    with(get, "content-length: 1234567890123456789"),
		"content-length of nothing":  with(get, "content-length: 1"),
		"extended CONNECT, no path":  {":method: CONNECT", ":protocol: websocket", ":scheme: http", ":authority: a"},
		"extended CONNECT, no place": {":method: CONNECT", ":protocol: websocket", ":scheme: http", ":path: /"},
	}
	for name, lines := range cases {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil, func(*h2.Stream) { t.Error("a handler was called") })
			c := connect(t, s)
			block := c.block(lines...)
			if lines == nil {
				block = append(c.block(get...), 0, 0, 1, 'v') // a literal without a name
			}
			c.ok(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true}))
			c.wantReset(1, http2.ErrCodeProtocol)
			c.wantPong()
		})
	}
}

// report tells the test what a request looked like.
func report(requests chan<- message.Request) handlerFunc {
	return func(s *h2.Stream) {
		r := *s.Request()
		fields := r.Fields
		r.Fields = nil
		for _, f := range fields {
			f.Name, f.Value = strings.Clone(f.Name), strings.Clone(f.Value)
			r.Fields = append(r.Fields, f)
		}
		for _, p := range []*string{&r.Method, &r.Scheme, &r.Target, &r.Host, &r.Upgrade} {
			*p = strings.Clone(*p)
		}
		requests <- r
		_ = s.Respond(204, nil, true)
	}
}

func TestRequests(t *testing.T) {
	requests := make(chan message.Request, 1)
	c := connect(t, serve(t, nil, report(requests)))
	next := uint32(1)
	ask := func(end bool, lines ...string) message.Request {
		t.Helper()
		c.ok(c.headers(next, end, lines...))
		next += 2
		f := c.next()
		for r, ok := f.(*http2.RSTStreamFrame); ok && r.ErrCode == http2.ErrCodeNo; r, ok = f.(*http2.RSTStreamFrame) {
			f = c.next() // of a stream before this one, whenever its handler has returned
		}
		if h, ok := f.(*http2.MetaHeadersFrame); !ok || h.PseudoValue("status") != "204" {
			t.Fatalf("got %v", f)
		}
		return <-requests
	}
	for range 3 { // the second time by index
		r := ask(true, with(get, "cookie: a=b", "x: y", "te: trailers", "cookie: c=d", "cookie: e=f")...)
		want := []message.Field{
			{Name: "cookie", Value: "a=b; c=d; e=f", Kind: message.Cookie}, {Name: "x", Value: "y"},
			{Name: "te", Value: "trailers", Kind: message.TE},
		}
		if len(r.Fields) != len(want) {
			t.Fatalf("fields %v", r.Fields)
		}
		for i := range want {
			if r.Fields[i] != want[i] {
				t.Errorf("field %v, not %v", r.Fields[i], want[i])
			}
		}
		if !r.Trailers || r.Length != 0 || r.Major != 2 || r.Method != "GET" || r.Scheme != "http" || r.Target != "/" || r.Host != "h2.test" {
			t.Errorf("request %+v", r)
		}
	}
	if r := ask(false, with(post, "expect: 100-continue", "content-length: 5", "host: H2.test:80")...); !r.Expect || r.Length != 5 || r.Host != "h2.test" {
		t.Errorf("request %+v", r)
	}
	if r := ask(false, with(post[:3], "host: other.test")...); r.Length != message.Unknown || r.Host != "other.test" {
		t.Errorf("request %+v", r)
	}
	if r := ask(false, ":method: CONNECT", ":authority: a:1"); r.Target != "" || r.Host != "a:1" || r.Upgrade != "" {
		t.Errorf("request %+v", r)
	}
	r := ask(false, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /chat", ":authority: a")
	if r.Target != "/chat" || r.Upgrade != "websocket" || r.Length != message.Unknown {
		t.Errorf("request %+v", r)
	}
	if r := ask(true, ":method: OPTIONS", ":scheme: https", ":path: *", ":authority: a"); r.Target != "*" {
		t.Errorf("request %+v", r)
	}
}

// Content that is not as long as was said ends the stream, for the handler as well.
func TestContentLength(t *testing.T) {
	for name, send := range map[string]func(c *raw) error{
		"less":     func(c *raw) error { return c.WriteData(1, true, []byte("1234")) },
		"more":     func(c *raw) error { return c.WriteData(1, false, []byte("123456")) },
		"trailers": func(c *raw) error { return c.headers(1, true, "sum: 1") },
	} {
		t.Run(name, func(t *testing.T) {
			handler := make(chan error, 1)
			s := serve(t, nil, func(s *h2.Stream) {
				_, err := io.Copy(io.Discard, s)
				handler <- err
			})
			c := connect(t, s)
			c.ok(c.headers(1, false, with(post, "content-length: 5")...))
			c.ok(send(c))
			c.wantReset(1, http2.ErrCodeProtocol)
			if err := <-handler; err == nil {
				t.Error("the handler saw no error")
			}
			c.wantPong()
		})
	}
}

func TestTrailers(t *testing.T) {
	for name, lines := range map[string][]string{
		"":             {"sum: 1", "other: 2"},
		"pseudo-field": {":path: /"},
		"connection":   {"connection: close"},
		"length":       {"content-length: 4"},
		"too large":    {"sum: " + strings.Repeat("x", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &h2.Options{MaxHead: 1000}, echo)
			c := connect(t, s)
			c.ok(c.headers(1, false, post...))
			c.ok(c.WriteData(1, false, []byte("1234")))
			c.wantStatus(1, "200")
			c.wantData(1, "1234", false)
			c.ok(c.headers(1, true, lines...))
			switch name {
			case "":
				h, ok := c.next().(*http2.MetaHeadersFrame)
				if !ok || len(h.Fields) != 3 || h.Fields[0].Value != "1" || !h.StreamEnded() {
					t.Errorf("got %v", h)
				}
			case "too large":
				c.wantReset(1, http2.ErrCodeEnhanceYourCalm)
			default:
				c.wantReset(1, http2.ErrCodeProtocol)
			}
			c.wantPong()
		})
	}
}

func TestAnswers(t *testing.T) {
	large := strings.Repeat("y", 50000)
	s := serve(t, nil, func(s *h2.Stream) {
		_ = s.Inform(103, []message.Field{{Name: "Link", Value: "</a>"}})
		_ = s.Respond(299, []message.Field{
			{Name: "LARGE", Value: large}, {Name: "Set-Cookie", Value: "a"}, {Name: "Connection", Value: "close"},
			{Name: "Bad Name", Value: "x"}, {Name: "Bad-Value", Value: "a\r\nb: c"}, {Name: "Transfer-Encoding", Value: "chunked"},
			{Name: "Blank", Value: " b\t"}, {Name: ":status", Value: "200"},
		}, false)
		if s.Respond(200, nil, false) == nil || s.Inform(100, nil) == nil {
			t.Error("a second answer")
		}
		_ = s.Write([]byte("abc"), false)
		_ = s.End([]message.Field{{Name: "Grpc-Status", Value: "0"}})
		if s.Write([]byte("x"), true) == nil || s.End(nil) == nil {
			t.Error("an answer after the end")
		}
	})
	c := connect(t, s, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 100}) // the fields fit in no table
	for i := range 4 {
		id := id(i)
		c.ok(c.headers(id, true, get...))
		if h := c.wantStatus(id, "103"); h.StreamEnded() {
			t.Error("103 ended the stream")
		}
		h := c.wantStatus(id, "299")
		var got bytes.Buffer
		for _, f := range h.RegularFields() {
			got.WriteString(f.Name + "=" + f.Value + ";")
		}
		if want := "large=" + large + ";set-cookie=a;blank=b;"; got.String() != want {
			t.Errorf("fields %.200q", strings.ReplaceAll(got.String(), large, "…"))
		}
		c.wantData(id, "abc", false)
		h, ok := c.next().(*http2.MetaHeadersFrame)
		if !ok || !h.StreamEnded() || len(h.Fields) != 1 || h.Fields[0].Name != "grpc-status" {
			t.Errorf("trailers %v", h)
		}
	}
}

// An answer that comes before the request's end is whole, and the rest of the request declined (RFC 9113 §8.1).
func TestEarlyAnswer(t *testing.T) {
	s := serve(t, nil, func(s *h2.Stream) {
		_ = s.Respond(413, nil, true)
	})
	c := connect(t, s)
	for i := range 300 {
		c.ok(c.headers(id(i), false, post...))
		c.wantStatus(id(i), "413")
		c.wantReset(id(i), http2.ErrCodeNo)
		for range 8 { // what was on its way is no offence
			c.ok(c.WriteData(id(i), false, make([]byte, 16<<10)))
		}
		c.ok(c.headers(id(i), true, "trailer: x"))
	}
	c.wantPong()
}

// More than one writer: each gets its share.
func TestFair(t *testing.T) {
	const streams, size = 4, 8 << 20
	var ready = make(chan struct{})
	s := serve(t, nil, func(s *h2.Stream) {
		<-ready
		_ = s.Respond(200, nil, false)
		_ = s.Write(make([]byte, size), true)
	})
	c := connect(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	for i := range streams {
		c.ok(c.headers(id(i), true, get...))
	}
	wait(t, "the handlers", func() bool { return s.conn(0).Streams() == streams })
	close(ready)
	got := map[uint32]int{}
	for heads, sum := 0, 0; heads < streams || sum < 65535; { // now the connection's window is closed
		switch f := c.next().(type) {
		case *http2.MetaHeadersFrame:
			heads++
		case *http2.DataFrame:
			got[f.StreamID] += len(f.Data())
			sum += len(f.Data())
		}
	}
	c.ok(c.WriteWindowUpdate(0, 1<<30))
	for ended := false; !ended; {
		if d, ok := c.next().(*http2.DataFrame); ok {
			got[d.StreamID] += len(d.Data())
			ended = d.StreamEnded()
		}
	}
	for i := range streams {
		if got[id(i)] < size/4 {
			t.Errorf("stream %d got %d of %d when the first was done", id(i), got[id(i)], size)
		}
	}
}
