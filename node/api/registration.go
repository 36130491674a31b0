package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"tripod/proxy/upstream"
)

const (
	// DefaultTTL is for how long a registration that is not renewed stays, unless it says so itself.
	DefaultTTL = 10 * time.Second
	// MinTTL and MaxTTL bound what it may say.
	MinTTL = time.Second
	MaxTTL = time.Hour
	// MaxRegistration bounds a registration's JSON.
	MaxRegistration = 4096
	// MaxRegistrationID bounds its ID, and maxServiceName the service's name.
	MaxRegistrationID = 128
	maxServiceName    = 512
)

// Registration is the JSON value of /tripod/registrations/<service>/<id>: a server that registered itself. It is there as long as
// its lease is renewed.
type Registration struct {
	Address string `json:"address"` // IP:port, at which the nodes reach it
	// Weight is its share of the requests against the other servers, 0 to 256; nil is 1.
	Weight *int   `json:"weight,omitempty"`
	Zone   string `json:"zone,omitempty"`
	// MaxConnections is how many requests one node has there at a time; 0 is no limit.
	MaxConnections int `json:"max_connections,omitempty"`
	// Backup is used only when no other server is up.
	Backup bool `json:"backup,omitempty"`
	// Draining is true when the server is about to stop: it gets no new clients.
	Draining bool `json:"draining,omitempty"`
}

// Validate checks the registration.
func (r Registration) Validate() error {
	if r.Address == "" {
		return errors.New(`it has no address: give one as in {"address": "10.0.1.7:8080"}`)
	}
	address, err := netip.ParseAddrPort(r.Address)
	switch {
	case err != nil:
		return fmt.Errorf("address %q is not IP:port, as in 10.0.1.7:8080 or [2001:db8::7]:8080", cut(r.Address))
	case address.Port() == 0:
		return fmt.Errorf("address %q: port 0 is none that nodes can connect to", cut(r.Address))
	case address.Addr().IsUnspecified():
		return fmt.Errorf("address %q is every address: give the one at which nodes reach the server", cut(r.Address))
	}
	if r.Weight != nil && (*r.Weight < 0 || *r.Weight > upstream.MaxWeight) {
		return fmt.Errorf("weight %d is not between 0 and %d", *r.Weight, upstream.MaxWeight)
	}
	if r.MaxConnections < 0 {
		return fmt.Errorf("max_connections %d is less than none: 0 means no limit", r.MaxConnections)
	}
	return nil
}

// ParseRegistration reads and checks a key's value.
func ParseRegistration(value []byte) (Registration, error) {
	var r Registration
	if len(value) > MaxRegistration {
		return r, fmt.Errorf("it is longer than %d bytes", MaxRegistration)
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf(`it is not of the form {"address": "10.0.1.7:8080"}: %w`, err)
	}
	return r, r.Validate()
}

// CheckRegistrationName checks to what and as what a server registers. An ID has letters, digits and . - _ : [ ] only.
func CheckRegistrationName(service, id string) error {
	switch {
	case service == "":
		return errors.New("the name of the service is empty")
	case len(service) > maxServiceName || !utf8.ValidString(service) || strings.ContainsFunc(service, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%q is no name of a service", cut(service))
	case id == "":
		return errors.New("the ID is empty")
	case len(id) > MaxRegistrationID:
		return fmt.Errorf("ID %q is longer than %d bytes", cut(id), MaxRegistrationID)
	case id == "." || id == ".." || strings.ContainsFunc(id, func(r rune) bool { return !idLetter(r) }):
		return fmt.Errorf("ID %q is not of letters, digits and . - _ : [ ] only", cut(id))
	}
	return nil
}

func idLetter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".-_:[]", r)
}

// cut keeps somebody's word short.
func cut(word string) string {
	const longest = 64
	if len(word) > longest {
		return strings.ToValidUTF8(word[:longest], "") + "…"
	}
	return word
}

// RegisterRequest registers a server, or renews that.
type RegisterRequest struct {
	Service, ID  string
	Registration Registration
	TTL          time.Duration // MinTTL to MaxTTL; rounded up to whole seconds
}

// RegisterReply says what became of it.
type RegisterReply struct {
	Service string `json:"service"`
	ID      string `json:"id"`
	// TTL is in how many seconds the registration ends unless it is renewed.
	TTL int64 `json:"ttl_seconds"`
	// Renewed is true if it was there.
	Renewed bool `json:"renewed,omitempty"`
	// Pending is true while the document has no such service.
	Pending bool `json:"pending,omitempty"`
}

// DeregisterReply says whether there was a registration.
type DeregisterReply struct {
	Existed bool `json:"existed"`
}

// RegisteredServer is one registration of the list.
type RegisteredServer struct {
	Service string `json:"service"`
	ID      string `json:"id"`
	Registration
	// Pending is true while the document has no such service.
	Pending bool `json:"pending,omitempty"`
	// Lasting is true of a key without a lease, which stays until somebody deletes it.
	Lasting bool `json:"lasting,omitempty"`
}

// register serves one plain call: the path says to what and as what, the query for how long, the body is the key's value.
func (s *Server) register(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headTimeout)) // not offered by test recorders
	answer(func(r *http.Request) (any, error) {
		request, err := readRegistration(r.PathValue("service"), r.PathValue("id"), r.URL.Query(), http.MaxBytesReader(w, r.Body, MaxRegistration+1))
		if err != nil {
			return nil, Fail(http.StatusBadRequest, err)
		}
		return s.node.Register(r.Context(), request)
	})(w, r)
}

// readRegistration reads what comes from whoever may call. Unlike in a key, of which other versions may know more, a word that nobody knows is an
// error here: it is a slip of whoever calls.
func readRegistration(service, id string, query url.Values, body io.Reader) (RegisterRequest, error) {
	request := RegisterRequest{Service: service, ID: id, TTL: DefaultTTL}
	if err := CheckRegistrationName(service, id); err != nil {
		return request, err
	}
	if text := query.Get("ttl"); text != "" {
		ttl, err := time.ParseDuration(text)
		if err != nil || ttl < MinTTL || ttl > MaxTTL {
			return request, fmt.Errorf("ttl %q is not a time from %s to %s, such as 10s", cut(text), MinTTL, MaxTTL)
		}
		request.TTL = ttl
	}
	text, err := io.ReadAll(body)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return request, fmt.Errorf("the registration is longer than %d bytes", MaxRegistration)
		}
		return request, fmt.Errorf("read registration: %w", err)
	}
	if _, err := ParseRegistration(text); err != nil {
		return request, fmt.Errorf("registration: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&request.Registration); err != nil {
		return request, fmt.Errorf("registration: %w; it may have address, weight, zone, max_connections, backup and draining", err)
	}
	return request, nil
}

func registrationPath(service, id string) string {
	return "/v1/registrations/" + url.PathEscape(service) + "/" + url.PathEscape(id)
}

// Register registers a server, or renews that.
func (c *Client) Register(ctx context.Context, r RegisterRequest) (RegisterReply, error) {
	return call[RegisterReply](ctx, c, "PUT", registrationPath(r.Service, r.ID)+"?ttl="+r.TTL.String(), r.Registration)
}

// Deregister ends a registration at once.
func (c *Client) Deregister(ctx context.Context, service, id string) (DeregisterReply, error) {
	return call[DeregisterReply](ctx, c, "DELETE", registrationPath(service, id), nil)
}

// Registrations lists all.
func (c *Client) Registrations(ctx context.Context) ([]RegisteredServer, error) {
	return call[[]RegisteredServer](ctx, c, "GET", "/v1/registrations", nil)
}
