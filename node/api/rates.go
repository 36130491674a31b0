package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"tripod/proxy/web/rate"
)

// rateWriteTimeout is how long a reader may take for one batch before the stream ends; it can ask again.
const rateWriteTimeout = 5 * time.Second

// Rates is what nodes tell each other of rate limits.
type Rates interface {
	// StreamRates passes what this node has counted from a position on to send, in the form that rate.Source reads, until ctx ends or
	// send fails.
	StreamRates(ctx context.Context, from rate.Position, send func([]byte) error) error
}

// rates streams what this node counts for rate limits.
func (s *Server) rates(w http.ResponseWriter, r *http.Request) {
	var from rate.Position
	for _, q := range []struct {
		name string
		to   *uint64
	}{{"epoch", &from.Epoch}, {"next", &from.Next}} {
		n, err := strconv.ParseUint(r.URL.Query().Get(q.name), 10, 64)
		if err != nil {
			writeFailure(w, Fail(http.StatusBadRequest, fmt.Errorf("%s is a number", q.name)))
			return
		}
		*q.to = n
	}
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/octet-stream")
	err := s.node.StreamRates(r.Context(), from, func(b []byte) error {
		// Not every writer offers deadlines.
		if err := control.SetWriteDeadline(time.Now().Add(rateWriteTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil {
		s.log.Debug("a node stopped listening to rate limits", "error", err)
	}
}

// Rates opens the stream of what the node counts for rate limits, from a position on; rate.Source reads it.
func (c *Client) Rates(ctx context.Context, from rate.Position) (io.ReadCloser, error) {
	path := fmt.Sprintf("/v1/rates?epoch=%d&next=%d", from.Epoch, from.Next)
	response, err := c.sendBy(ctx, c.beats, "GET", path, nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}
