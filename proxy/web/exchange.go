package web

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"tripod/proxy/upstream"
	"tripod/proxy/web/message"
	"tripod/proxy/web/rule"
)

// statusClientGone is nginx's code for a client that went away before its answer; it is only ever logged.
const statusClientGone = 499

// exchange is one request and its answer. Exchanges are reused, with the memory that they have gathered.
type exchange struct {
	engine   *Engine
	front    *Front
	listener *Listener
	table    *Table
	client   client
	link     *link
	req      *message.Request
	res      message.Response // from the server
	start    time.Time
	now      time.Time  // of late; what is waited for is counted from here
	proto    string     // how the client came, as far as is known
	id       string     // good until the exchange is reused
	remote   netip.Addr // whose connection it is
	peer     string     // the same as text
	origin   netip.Addr // who asks: the same, or whom a trusted proxy names
	address  string     // the same as text
	route    *route
	limits   *limits
	rules    *rule.Rules
	vars     rule.Vars
	server   *upstream.Server
	choice   upstream.Ask
	renew    bool   // the client is to get its sticky cookie anew
	moves    int    // times that the document changed under it
	tries    int    // servers that were asked
	resent   int    // times that it was sent again
	hedge    *hedge // a second server that is asked meanwhile; nil for none
	hedged   bool   // there was one
	retrying bool   // it is counted among those that are
	askedAt  time.Time
	spent    spent
	fault    error // why there is no answer but ours

	status int
	bytes  int64
	// abort breaks the client's connection (HTTP/1) or stream (HTTP/2), so that it sees that the answer is not whole.
	abort bool

	send    sending
	fields  []message.Field // of the answer
	infos   int             // informational answers that were passed on
	idBytes [idLength]byte
	digits  [20]byte // of a length
	socket  handshake
	second  client2 // the client's side, if it speaks HTTP/2
	line    []byte  // of the access log
	target  []byte  // as the server sees it, where that is another than the client's
	packing packing
}

// serve answers the request.
func (x *exchange) serve() {
	x.decide()
	x.finish()
}

// decide finds out who answers.
func (x *exchange) decide() {
	switch r := x.req; {
	case r.Method == "CONNECT" && (r.Major < 2 || r.Upgrade == "") || r.Method == "TRACE":
		x.page(405, "this method is not served here")
		return
	case r.Target == "" || r.Target[0] != '/': // OPTIONS *
		x.refuse(400, "the request target is not valid")
		return
	}
	if x.listener.RedirectHTTPS {
		x.redirectHTTPS()
		return
	}
	if x.find(); x.admit() {
		x.lead()
	}
}

// lead answers, or has a server answer.
func (x *exchange) lead() {
	if x.route == nil || x.route.service == nil {
		x.answerSelf()
		return
	}
	if x.limits.total > 0 {
		defer x.settle(x.link.expireAfter(x.limits.total))
	}
	x.forward()
}

// settle ends the limit for the whole. It may have ended the client's connection just when the answer was whole.
func (x *exchange) settle(limit *time.Timer) {
	if x.link.settle(limit) {
		x.client.last()
	}
}

// mayAnswer tells whether a server's answer is to be passed on that has come in time. What takes too long from now on is broken off, for
// it is too late to say so.
func (x *exchange) mayAnswer() bool {
	if x.limits.total == 0 {
		return true
	}
	return x.link.answers(x.client.breaker())
}

// find looks up the route.
func (x *exchange) find() {
	x.route = x.table.find(normalHost(x.req.Host), routePath(x.req.Target))
	x.limits, x.rules = &x.engine.limits, nil
	if x.route != nil && x.route.limits != nil {
		x.limits = x.route.limits
	}
	x.client.limit(x.limits)
	if x.route == nil {
		return
	}
	if x.rules = x.route.rules; x.rules != nil {
		path, _ := splitTarget(x.req.Target)
		x.vars.Client, x.vars.Host, x.vars.Path, x.vars.ID, x.vars.Listener = x.address, x.req.Host, path, x.id, x.listener.Name
	}
}

// answerSelf answers where no service does.
func (x *exchange) answerSelf() {
	if x.route == nil {
		x.page(404, "no route for this host and path")
		return
	}
	if a := x.rules.Answer(); a != nil {
		x.answerFixed(a)
		return
	}
	to := x.route.redirect
	if x.route.keepURI {
		to += x.req.Target
	}
	x.redirect(x.rules.RedirectStatus(), to)
}

// finish counts and logs the exchange.
func (x *exchange) finish() {
	x.now = time.Now()
	took := x.now.Sub(x.start)
	stats := x.table.stats[""]
	if x.route != nil {
		stats = x.route.stats
	}
	stats.observe(x.listener.Name, x.status, took)
	if n := x.table.accessLog; x.engine.opts.AccessLog != nil && n > 0 && (n == 1 || x.status >= 500 || rand.IntN(n) == 0) {
		x.logAccess(took)
	}
}

// begin readies an exchange for a request.
func (x *exchange) begin(f *Front, c client, l *link, r *message.Request, remote netip.Addr, peer string, secure bool) {
	x.engine, x.front, x.listener, x.table = f.engine, f, f.listener.Load(), f.engine.table.Load()
	x.client, x.link, x.req = c, l, r
	x.start = time.Now()
	x.now = x.start
	x.limits = &x.engine.limits
	x.remote, x.peer, x.origin, x.address = remote, peer, remote, peer
	x.proto = "http"
	if secure {
		x.proto = "https"
	}
	x.newID()
	if !x.listener.Trusted.Empty() {
		x.believe()
	}
}

// believe takes the word of a trusted proxy about who the client is.
func (x *exchange) believe() {
	origin, scheme := rule.ClientAddress(x.remote, x.req.Fields, x.listener.Trusted)
	if origin != x.remote {
		x.origin, x.address = origin, origin.String()
	}
	if scheme != "" {
		x.proto = scheme
	}
}

// reset forgets everything but the memory, so that nothing of one client's reaches another.
func (x *exchange) reset() {
	x.engine, x.front, x.listener, x.table, x.client, x.link, x.req = nil, nil, nil, nil, nil, nil, nil
	x.res.Reset()
	x.id, x.address, x.peer, x.route, x.server, x.rules, x.limits = "", "", "", nil, nil, nil, nil
	x.vars = rule.Vars{Scratch: x.vars.Scratch[:0]}
	x.packing.reset()
	x.choice.Reset()
	clear(x.fields)
	x.fields, x.line, x.target = x.fields[:0], x.line[:0], x.target[:0]
	x.tries, x.resent, x.hedged, x.spent, x.fault = 0, 0, false, spent{}, nil
	x.moves, x.status, x.bytes, x.infos, x.abort = 0, 0, 0, 0, false
	x.socket = handshake{}
	x.send.reset()
}

// number is a length in digits, good until the next call.
func (x *exchange) number(n int64) string {
	b := strconv.AppendInt(x.digits[:0], n, 10)
	return unsafe.String(&b[0], len(b))
}

// idLength is that of a request id: 100 bits in base 32.
const idLength = 20

// newID makes a request id. It is for finding a request in logs, not for guarding anything.
func (x *exchange) newID() {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	high, low := rand.Uint64(), rand.Uint64()
	for i := range idLength / 2 {
		x.idBytes[i] = digits[high&31]
		x.idBytes[i+idLength/2] = digits[low&31]
		high, low = high>>5, low>>5
	}
	x.id = unsafe.String(&x.idBytes[0], idLength)
}
