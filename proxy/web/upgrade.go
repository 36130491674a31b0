package web

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// tunnelBuffer carries one direction of an upgraded connection, for as long as it lives.
type tunnelBuffer [8 << 10]byte

// upgrade joins the client with a server that agreed to change the protocol (RFC 9110 §7.8).
func (x *exchange) upgrade(res *http.Response, cookie string) {
	server, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		res.Body.Close()
		x.fail(errors.New("the connection cannot be upgraded"))
		return
	}
	defer server.Close()
	asked, given := upgradeOf(x.r.Header), upgradeOf(res.Header)
	if asked == "" || !strings.EqualFold(asked, given) {
		x.fail(errors.New("the server changed to a protocol that was not asked for"))
		return
	}
	x.lastWord()
	x.body.answered()
	head := x.answerHeader(res, cookie).Clone()
	head["Connection"], head["Upgrade"] = []string{"Upgrade"}, []string{given}
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.status, x.abort = statusClientGone, true
		return
	}
	defer x.front.ended()
	defer client.Close()
	x.status = http.StatusSwitchingProtocols
	if err := writeSwitch(buffered.Writer, head); err != nil {
		return
	}
	x.tunnel(client, buffered.Reader, server)
}

func writeSwitch(w *bufio.Writer, head http.Header) error {
	w.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err := head.Write(w); err != nil {
		return err
	}
	w.WriteString("\r\n")
	return w.Flush()
}

// tunnel carries both directions until both have ended, or one has failed, or the front is cut.
func (x *exchange) tunnel(client net.Conn, early *bufio.Reader, server io.ReadWriteCloser) {
	// The context of a request is not told when its upgraded connection closes, only when the front is cut.
	ended := make(chan struct{})
	done := make(chan error, 2)
	var in io.Reader = client
	if n := early.Buffered(); n > 0 {
		peeked, _ := early.Peek(n)
		in = io.MultiReader(strings.NewReader(string(peeked)), client)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := x.front.engine.carry(server, in)
		done <- err
	})
	wg.Go(func() {
		n, err := x.front.engine.carry(client, server)
		x.bytes += n
		done <- err
	})
	wg.Go(func() {
		select {
		case <-x.r.Context().Done():
		case <-ended:
		}
		client.Close()
		server.Close()
	})
	if err := <-done; err == nil {
		<-done
	}
	close(ended)
	wg.Wait()
}

// carry copies one direction and passes its end on. It returns errHalf if the end cannot be passed on.
func (e *Engine) carry(dst io.Writer, src io.Reader) (int64, error) {
	buf := e.tunnels.Get().(*tunnelBuffer)
	defer e.tunnels.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
	if err != nil {
		return n, err
	}
	half, ok := dst.(interface{ CloseWrite() error })
	if !ok {
		return n, errHalf
	}
	return n, half.CloseWrite()
}

var errHalf = errors.New("this end cannot be closed for writing alone")
