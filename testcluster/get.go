package testcluster

import (
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// Response is an answer that came through the cluster.
type Response struct {
	*http.Response
	Body string
	t    testing.TB
}

// Want fails the test unless the answer has this status.
func (r *Response) Want(status int) *Response {
	r.t.Helper()
	if r.StatusCode != status {
		r.t.Fatalf("GET %s: %s, want %d: %s", r.Request.URL, r.Status, status, r.Body)
	}
	return r
}

// Authority is the PEM of the cluster's certificate authority.
func (c *Cluster) Authority() string {
	c.t.Helper()
	if c.authority == "" {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		pem, err := c.running()[0].Client().Authority(ctx)
		if err != nil {
			c.t.Fatalf("authority: %v", err)
		}
		c.authority = pem
	}
	return c.authority
}

// HTTPClient connects to the given address, whatever host a URL names, and trusts the cluster's authority when
// https is set. It follows no redirects.
func (c *Cluster) HTTPClient(address string, https bool) *http.Client {
	c.t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, hostPort string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(hostPort)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, net.JoinHostPort(address, port))
		},
		ForceAttemptHTTP2: true,
	}
	if https {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(c.Authority()))
		transport.TLSClientConfig = &stdtls.Config{RootCAs: roots}
	}
	c.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Get fetches a URL through the first VIP, whatever its host.
func (c *Cluster) Get(url string) *Response {
	c.t.Helper()
	return c.GetVia(c.VIP(0), url)
}

// GetVia fetches a URL through an address, whatever its host.
func (c *Cluster) GetVia(address, url string) *Response {
	c.t.Helper()
	client := c.HTTPClient(address, len(url) > 5 && url[:5] == "https")
	response, err := client.Get(url)
	if err != nil {
		c.t.Fatalf("GET %s via %s: %v", url, address, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("GET %s via %s: read body: %v", url, address, err)
	}
	return &Response{Response: response, Body: string(body), t: c.t}
}

// Page is an admin page of the node.
func (n *Node) Page(path string) string {
	n.cluster.t.Helper()
	var response *http.Response
	n.cluster.Wait("the admin page "+path, func() (err error) {
		response, err = http.Get(n.Admin() + path)
		return err
	})
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		n.cluster.t.Fatal(err)
	}
	return string(body)
}
