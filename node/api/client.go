package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"tripod/node/config"
	"tripod/node/etcd"
	"tripod/tls"
)

const (
	dialTimeout = time.Second
	maxAnswer   = 64 << 20
)

// Client talks to the API of one node.
type Client struct {
	base    string
	http    *http.Client
	beats   *http.Client // with a connection of its own for every stream
	explain func(error) error
}

// NewClient talks to a node over mutual TLS, with an identity under the cluster's secret.
func NewClient(hostPort string, identity *tls.Identity) *Client {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:     identity.ClientFor(hostPort),
		TLSHandshakeTimeout: 2 * time.Second,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
	}
	single := transport.Clone()
	single.DisableKeepAlives = true
	return &Client{
		base:    "https://" + hostPort,
		explain: func(err error) error { return identity.ExplainPeer(hostPort, err) },
		http:    &http.Client{Transport: transport},
		beats:   &http.Client{Transport: single},
	}
}

// NewSocketClient talks to the local node over its unix socket.
func NewSocketClient(path string) *Client {
	local := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", path)
		},
	}}
	return &Client{base: "http://tripod", explain: func(err error) error { return err }, http: local, beats: local}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	return c.sendBy(ctx, c.http, method, path, body)
}

func (c *Client) sendBy(ctx context.Context, by *http.Client, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	response, err := by.Do(request)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is known to whoever asked
		}
		return nil, c.explain(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	f := &Failure{Status: response.StatusCode}
	if json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(f) != nil || f.Message == "" {
		f.Message = "node API answered " + response.Status
	}
	return nil, f
}

func call[A any](ctx context.Context, c *Client, method, path string, body any) (A, error) {
	var reply A
	response, err := c.send(ctx, method, path, body)
	if err != nil {
		return reply, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&reply); err != nil {
		return reply, fmt.Errorf("read answer of %s: %w", path, err)
	}
	return reply, nil
}

// Report asks for the node's phase.
func (c *Client) Report(ctx context.Context) (etcd.Report, error) {
	return call[etcd.Report](ctx, c, "GET", "/v1/phase", nil)
}

// Join asks for admission.
func (c *Client) Join(ctx context.Context, request etcd.JoinRequest) (etcd.JoinReply, error) {
	return call[etcd.JoinReply](ctx, c, "POST", "/v1/join", request)
}

// Local asks what the node knows about itself.
func (c *Client) Local(ctx context.Context) (Local, error) {
	return call[Local](ctx, c, "GET", "/v1/local", nil)
}

// Status asks for the whole cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, "GET", "/v1/status", nil)
}

// Document is the newest document. A Failure with status 404 means that there is none.
func (c *Client) Document(ctx context.Context) (config.Version, error) {
	return call[config.Version](ctx, c, "GET", "/v1/config", nil)
}

// Apply puts a document and waits until the live nodes serve it.
func (c *Client) Apply(ctx context.Context, request ApplyRequest) (ApplyReply, error) {
	return call[ApplyReply](ctx, c, "PUT", "/v1/config", request)
}

// History lists the documents that are kept, newest first.
func (c *Client) History(ctx context.Context) ([]config.Version, error) {
	return call[[]config.Version](ctx, c, "GET", "/v1/config/history", nil)
}

// DocumentAt is a document of the history.
func (c *Client) DocumentAt(ctx context.Context, revision int64) (config.Version, error) {
	return call[config.Version](ctx, c, "GET", "/v1/config/history/"+strconv.FormatInt(revision, 10), nil)
}

// Certificates lists the certificates.
func (c *Client) Certificates(ctx context.Context) ([]tls.Info, error) {
	return call[[]tls.Info](ctx, c, "GET", "/v1/certs", nil)
}

// Authority is the PEM of the internal certificate authority.
func (c *Client) Authority(ctx context.Context) (string, error) {
	return call[string](ctx, c, "GET", "/v1/certs/authority", nil)
}

// AddCertificate stores a certificate of the user's own.
func (c *Client) AddCertificate(ctx context.Context, upload CertificateUpload) (CertificateReply, error) {
	return call[CertificateReply](ctx, c, "PUT", "/v1/certs", upload)
}

// RemoveCertificate removes one.
func (c *Client) RemoveCertificate(ctx context.Context, name string) error {
	_, err := call[struct{}](ctx, c, "DELETE", "/v1/certs/"+url.PathEscape(name), nil)
	return err
}

// Beat opens a stream on which the node sends a byte every 100 ms while it lives. It needs a new one only if the last broke or fell
// silent, so the connection is new, and idle ones, which may be to a machine that has forgotten them, are not used again.
func (c *Client) Beat(ctx context.Context) (io.ReadCloser, error) {
	c.http.CloseIdleConnections()
	response, err := c.sendBy(ctx, c.beats, "GET", "/v1/beat", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Events calls f for every event on the node from now on, until ctx or the connection ends. opened, if not
// nil, is called once the subscription stands.
func (c *Client) Events(ctx context.Context, opened func(), f func(Event)) error {
	response, err := c.send(ctx, "GET", "/v1/events", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if opened != nil {
		opened()
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		f(e)
	}
	return lines.Err()
}
