package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"tripod/proxy/upstream"
)

// Servers changes what servers get.
type Servers interface {
	// Order takes an operator's word about a server. It returns when the key is written.
	Order(ctx context.Context, request OrderRequest) (OrderReply, error)
	// Running counts what a server is serving, on all nodes.
	Running(ctx context.Context, service, address string) (Running, error)
	// ServerHere is what this node gives a server; the zero value if it has no such server.
	ServerHere(service, address string) ServerHere
	// Register takes or renews a server's registration.
	Register(ctx context.Context, request RegisterRequest) (RegisterReply, error)
	// Deregister ends a registration at once, and tells whether there was one.
	Deregister(ctx context.Context, service, id string) (bool, error)
	// Registrations lists all, by service and ID.
	Registrations(ctx context.Context) ([]RegisteredServer, error)
}

// OrderRequest is an operator's word about a server.
type OrderRequest struct {
	Service string `json:"service"`
	Address string `json:"address"`
	// State is drain, maint, or ready, which takes either back; empty leaves the state as it is.
	State upstream.OrderState `json:"state,omitempty"`
	// Timeout, with drain, is for how long clients that a cookie keeps there may stay, as in 10m; empty and 0s are for ever.
	Timeout string `json:"timeout,omitempty"`
	// Weight is 0 to 256; nil leaves the weight as it is.
	Weight *int `json:"weight,omitempty"`
	// DefaultWeight makes the document's weight count again.
	DefaultWeight bool   `json:"default_weight,omitempty"`
	By            string `json:"by,omitempty"`
}

// OrderReply says what became of it.
type OrderReply struct {
	Unchanged bool `json:"unchanged,omitempty"` // it was so already
	// Order is what holds now; zero if operators say nothing about the server any more.
	Order    upstream.Order `json:"order"`
	Warnings []string       `json:"warnings,omitempty"`
}

// ServerHere is what one node gives a server.
type ServerHere struct {
	// State is empty if the node has no such server.
	State upstream.State `json:"state,omitempty"`
	// Running are the requests and TCP connections that the server is serving for the node.
	Running int64 `json:"running"`
	// Registration is the ID of a server that registered itself.
	Registration string `json:"registration,omitempty"`
	// Kept is true while clients that a cookie keeps at the drained server may come, until Until, or for ever if that is zero.
	Kept  bool      `json:"kept,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// Closed tells whether the node gives the server no new clients.
func (s ServerHere) Closed() bool {
	return s.State == "" || s.State == upstream.StateDrain || s.State == upstream.StateMaint
}

// Running is what a server is serving.
type Running struct {
	// Running are the requests and TCP connections of all nodes that answer.
	Running int64                 `json:"running"`
	Nodes   map[string]ServerHere `json:"nodes"`
	// Silent are living nodes that do not answer: what the server serves for them is not known.
	Silent []string `json:"silent,omitempty"`
}

// Closed tells whether no node gives the server new clients.
func (r Running) Closed() bool {
	for _, here := range r.Nodes {
		if !here.Closed() {
			return false
		}
	}
	return len(r.Silent) == 0
}

// Kept tells whether clients that a cookie keeps at the server may come, and until when: zero is for ever.
func (r Running) Kept() (until time.Time, kept bool) {
	for _, here := range r.Nodes {
		if here.Kept && (!kept || here.Until.IsZero() || !until.IsZero() && here.Until.After(until)) {
			until, kept = here.Until, true
		}
	}
	return until, kept
}

// serverRoutes are the routes about servers.
func (s *Server) serverRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/servers", withBody(s.node.Order))
	mux.HandleFunc("GET /v1/servers/{service}/{address}", answer(func(r *http.Request) (any, error) {
		return s.node.Running(r.Context(), r.PathValue("service"), r.PathValue("address"))
	}))
	mux.HandleFunc("GET /v1/servers/{service}/{address}/here", answer(func(r *http.Request) (any, error) {
		return s.node.ServerHere(r.PathValue("service"), r.PathValue("address")), nil
	}))
	mux.HandleFunc("GET /v1/registrations", answer(func(r *http.Request) (any, error) { return s.node.Registrations(r.Context()) }))
	mux.HandleFunc("PUT /v1/registrations/{service}/{id}", s.register)
	mux.HandleFunc("DELETE /v1/registrations/{service}/{id}", answer(func(r *http.Request) (any, error) {
		existed, err := s.node.Deregister(r.Context(), r.PathValue("service"), r.PathValue("id"))
		return DeregisterReply{Existed: existed}, err
	}))
}

func serverPath(service, address string) string {
	return "/v1/servers/" + url.PathEscape(service) + "/" + url.PathEscape(address)
}

// Order says something about a server.
func (c *Client) Order(ctx context.Context, request OrderRequest) (OrderReply, error) {
	return call[OrderReply](ctx, c, "POST", "/v1/servers", request)
}

// Running counts what a server is serving, on all nodes.
func (c *Client) Running(ctx context.Context, service, address string) (Running, error) {
	return call[Running](ctx, c, "GET", serverPath(service, address), nil)
}

// ServerHere asks what the node gives a server.
func (c *Client) ServerHere(ctx context.Context, service, address string) (ServerHere, error) {
	return call[ServerHere](ctx, c, "GET", serverPath(service, address)+"/here", nil)
}
