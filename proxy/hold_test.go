package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// The head of an answer that is held back stays as it is while the rest is waited for.
func TestHeadsOfHeldAnswers(t *testing.T) {
	for _, headSize := range []int{100, 9000, 15 << 10} {
		for _, size := range []int{1, 100, 8 << 10} {
			t.Run(fmt.Sprint(headSize, " and ", size), func(t *testing.T) {
				t.Parallel()
				value, content := strings.Repeat("v", headSize), strings.Repeat("c", size)
				answer := func(c net.Conn) {
					in := bufio.NewReader(c)
					for {
						if _, err := http.ReadRequest(in); err != nil {
							return
						}
						fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Value: %s\r\nContent-Length: %d\r\nX-End: end\r\n\r\n", value, size)
						for rest := content; rest != ""; {
							time.Sleep(10 * time.Millisecond)
							n := min(len(rest), 3000)
							io.WriteString(c, rest[:n])
							rest = rest[n:]
						}
					}
				}
				r := start(t)
				at := r.serve(rawBackend(t, answer), rawBackend(t, answer))
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						c := client(t, false)
						for range 4 {
							res, err := c.Get("http://" + at)
							if err != nil {
								t.Error(err)
								return
							}
							b, err := io.ReadAll(res.Body)
							res.Body.Close()
							if res.StatusCode != 200 || res.Header.Get("X-Value") != value || res.Header.Get("X-End") != "end" || string(b) != content || err != nil {
								t.Errorf("%d %.40q %q, %d bytes, %v", res.StatusCode, res.Header, res.Header.Get("X-End"), len(b), err)
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// A server that takes its time with a short answer holds it back from nobody for long.
func TestSlowShortAnswersPassOn(t *testing.T) {
	let := make(chan bool)
	everyWay(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "8")
		io.WriteString(w, "four")
		w.(http.Flusher).Flush()
		<-let
		io.WriteString(w, "more")
	}, func(c *Config) {
		s := c.Services["web"]
		s.Servers = append(s.Servers, upstream.ServerConfig{Address: bilingual(t, func(w http.ResponseWriter, r *http.Request) {})})
		s.Balance = upstream.First
		c.Services["web"] = s
	}, func(t *testing.T, w *way) {
		res, err := w.client.Get(w.url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b := make([]byte, 4)
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "four" {
			t.Errorf("%q, %v", b, err)
		}
		let <- true
		if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "more" {
			t.Errorf("%q, %v", rest, err)
		}
	})
}
