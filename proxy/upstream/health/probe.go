package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// maxAnswer bounds what a health check reads of an answer, in bytes.
const maxAnswer = 64 << 10

// probe asks the server once, on a connection of its own: a server that accepts no connection is not well,
// however many old ones it still serves.
func probe(ctx context.Context, address string, h *Config) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return probeError(err, h)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	host := h.Host
	if host == "" {
		host = address
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tripod\r\nAccept: */*\r\nConnection: close\r\n\r\n", h.Path, host)
	if err != nil {
		return probeError(err, h)
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	for {
		res, err := http.ReadResponse(answer, nil)
		if err != nil {
			return probeError(err, h)
		}
		switch {
		case res.StatusCode >= 200 && res.StatusCode <= 399:
			// Read what there is of the body, so that the server sees an orderly end.
			io.Copy(io.Discard, res.Body)
			return nil
		case res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols:
			return fmt.Errorf("answered %s", res.Status)
		}
	}
}

// probeError puts the faults that everybody meets into few words.
func probeError(err error, h *Config) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", h.Timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.Is(err, syscall.ECONNRESET):
		return errors.New("connection reset")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("closed the connection without an answer")
	}
	return err
}
