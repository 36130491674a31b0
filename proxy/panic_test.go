package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// panics is a log that panics while it has a text to say, in the goroutine of whoever writes.
type panics struct{ text atomic.Value }

func (p *panics) Write(b []byte) (int, error) {
	if text := p.text.Load().(string); text != "" {
		panic(text)
	}
	return len(b), nil
}

// A panic costs the connection, or the stream, that it happened on.
func TestPanicEndsNoOtherConnection(t *testing.T) {
	var log panics
	log.text.Store("")
	r := start(t, func(o *Options) { o.AccessLog = &log })
	config, plain := r.config(backend(t, echoes))
	secure := r.secure(&config)
	for _, tt := range []struct {
		name, url string
		h2        bool
	}{{"plain", "http://" + plain, false}, {"TLS", "https://" + secure, false}, {"HTTP2", "https://" + secure, true}} {
		t.Run(tt.name, func(t *testing.T) {
			ask := func(c *http.Client) error {
				res, err := c.Post(tt.url, "text/plain", io.MultiReader(strings.NewReader("content")))
				if err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				return err
			}
			c, other := client(t, tt.h2), client(t, tt.h2)
			want(t, "before", ask(c), nil)
			want(t, "another's before", ask(other), nil)
			log.text.Store("panic over " + tt.name)
			ask(c)
			eventually(t, "the log", func() bool { return strings.Contains(r.log.String(), "panic over "+tt.name) })
			log.text.Store("")
			want(t, "another's after", ask(other), nil)
			want(t, "a new one", ask(client(t, tt.h2)), nil)
		})
	}
	r.idle(t)
}
