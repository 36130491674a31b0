package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"tripod/proxy/upstream"
)

// Content that HTTP/2 has not sent yet stays as it is while the rest of the next chunk's size is waited for.
func TestChunkSizeInPartsHarmsNoContent(t *testing.T) {
	const buffer = 16 << 10
	second := strings.Repeat("z", 0x1000)
	for _, part := range []string{"1", "1000", "1000;" + strings.Repeat("e", 200)} {
		t.Run(fmt.Sprintf("%.5s", part), func(t *testing.T) {
			// As much content as makes the beginning of the chunk's size the last of what fits into the second buffer.
			first := strings.Repeat("0123456789abcdef", 2*buffer/16)[:2*buffer-len("0000\r\n")-len("\r\n")-len(part)]
			goOn := make(chan struct{})
			defer close(goOn)
			w := newWay(t, nil, true, upstream.HTTP, func(c *Config) {
				c.Services["web"] = service(rawBackend(t, func(conn net.Conn) {
					in := bufio.NewReader(conn)
					for {
						if _, err := http.ReadRequest(in); err != nil {
							return
						}
						io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
						<-goOn // the client has the head, and the proxy no buffer
						fmt.Fprintf(conn, "%04x\r\n%s\r\n%s", len(first), first, part)
						<-goOn
						fmt.Fprintf(conn, "%s\r\n%s\r\n0\r\n\r\n", "1000"[min(4, len(part)):], second)
					}
				}))
			})
			for range 10 {
				res, err := w.client.Get(w.url)
				if err != nil {
					t.Fatal(err)
				}
				goOn <- struct{}{}
				got := make([]byte, len(first)+len(second))
				_, err = io.ReadFull(res.Body, got[:len(first)])
				goOn <- struct{}{}
				if err == nil {
					_, err = io.ReadFull(res.Body, got[len(first):])
				}
				res.Body.Close()
				if err != nil || string(got) != first+second {
					t.Fatalf("around the buffer's end %q and not %q, %v", got[buffer-10:][:20], first[buffer-10:][:20], err)
				}
			}
		})
	}
}
