package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Operators changes where VIPs are.
type Operators interface {
	// Drain makes a node a candidate for nothing, or ends that. It returns when the key is written.
	Drain(ctx context.Context, request DrainRequest) (DrainReply, error)
	// Holds returns when a node holds nothing, or at the end of the wait, with what it still holds.
	Holds(ctx context.Context, node string, wait time.Duration) (HoldsReply, error)
	// MoveVIP moves a VIP and returns when its new holder holds it.
	MoveVIP(ctx context.Context, request MoveRequest) (MoveReply, error)
}

// Drain is the JSON value of /tripod/admin/nodes/<name>: the word of an operator, which outlives the node's process.
type Drain struct {
	Drain bool      `json:"drain"`
	By    string    `json:"by,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// DrainRequest asks for a node to be drained, or no more.
type DrainRequest struct {
	Node  string `json:"node"`
	Drain bool   `json:"drain"`
	By    string `json:"by"`
}

// DrainReply says what became of it.
type DrainReply struct {
	Unchanged bool     `json:"unchanged,omitempty"` // it was so already
	Warnings  []string `json:"warnings,omitempty"`
}

// HoldsReply is what a node still holds; nothing once Held is empty.
type HoldsReply struct {
	Held []netip.Addr `json:"held"`
	// Why says why it still holds that, where it is known.
	Why string `json:"why,omitempty"`
}

// MoveRequest asks for a VIP to be moved.
type MoveRequest struct {
	Address netip.Addr `json:"address"`
	To      string     `json:"to,omitempty"` // empty: the best other node
	By      string     `json:"by"`
}

// MoveReply says where the VIP is now.
type MoveReply struct {
	From     string   `json:"from,omitempty"`
	To       string   `json:"to"`
	Took     float64  `json:"took_seconds"` // from the request to the new holder's word that it holds
	Warnings []string `json:"warnings,omitempty"`
}

// Failover is one change of a VIP's holder.
type Failover struct {
	At   time.Time `json:"at"` // when the record was written, by the clock of whoever wrote it
	From string    `json:"from"`
	To   string    `json:"to"`
	Why  string    `json:"why,omitempty"`
	// Detection is for how long nothing had been heard of the former holder by then, in seconds; 0 unless that was the
	// reason.
	Detection float64 `json:"detection_seconds,omitempty"`
	// Took is the time from the last sign of the former holder, or else from At, until the new one held the
	// VIP, in seconds. 0 means unknown: the new holder has been restarted since. It spans two nodes' clocks, and is as good as they agree.
	Took float64 `json:"took_seconds,omitempty"`
	// Revision is that of the record.
	Revision int64 `json:"revision"`
}

// Text tells a failover to a person; a dash stands for none.
func (f *Failover) Text(now time.Time) string {
	if f == nil {
		return "-"
	}
	text := fmt.Sprintf("%s, from %s", ago(now, f.At), f.From)
	if f.Took > 0 {
		text += " in " + Seconds(f.Took)
	}
	if f.Why != "" {
		text += ": " + strings.Join(strings.Fields(f.Why), " ")
	}
	return text
}

// Seconds writes a short span for a person.
func Seconds(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond).String()
}

// maxWait bounds how long a request for a node's holds may wait.
const maxWait = 10 * time.Minute

// holds serves what a node holds, once that is nothing or the wait is over.
func (s *Server) holds(r *http.Request) (any, error) {
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil || wait < 0 || wait > maxWait {
		return nil, Fail(http.StatusBadRequest, fmt.Errorf("wait %q is not a time from 0s to %s", r.URL.Query().Get("wait"), maxWait))
	}
	return s.node.Holds(r.Context(), r.PathValue("node"), wait)
}

// Drain makes a node a candidate for nothing, or ends that.
func (c *Client) Drain(ctx context.Context, request DrainRequest) (DrainReply, error) {
	return call[DrainReply](ctx, c, "POST", "/v1/drain", request)
}

// Holds waits until a node holds nothing, at most for the time given, and returns what it still holds.
func (c *Client) Holds(ctx context.Context, node string, wait time.Duration) (HoldsReply, error) {
	return call[HoldsReply](ctx, c, "GET", "/v1/holds/"+url.PathEscape(node)+"?wait="+wait.String(), nil)
}

// MoveVIP moves a VIP and returns when its new holder holds it.
func (c *Client) MoveVIP(ctx context.Context, request MoveRequest) (MoveReply, error) {
	return call[MoveReply](ctx, c, "POST", "/v1/move", request)
}
