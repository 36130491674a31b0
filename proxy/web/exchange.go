package web

import (
	"math/rand/v2"
	"strconv"
	"time"
	"unsafe"

	"tripod/proxy/upstream"
	"tripod/proxy/web/message"
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
	now      time.Time // of late; what is waited for is counted from here
	secure   bool
	id       string // good until the exchange is reused
	address  string // of the client, without port
	route    *route
	server   *upstream.Server
	tried    []*upstream.Server
	moves    int // times that the document changed under it

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
	if x.find(); x.route == nil || x.route.service == nil {
		x.answerSelf()
		return
	}
	x.forward()
}

// find looks up the route.
func (x *exchange) find() {
	x.route = x.table.find(normalHost(x.req.Host), routePath(x.req.Target))
}

// answerSelf answers where no service does.
func (x *exchange) answerSelf() {
	if x.route == nil {
		x.page(404, "no route for this host and path")
		return
	}
	to := x.route.redirect
	if x.route.keepURI {
		to += x.req.Target
	}
	x.redirect(to)
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
	if x.engine.opts.AccessLog != nil && x.table.accessLog {
		x.logAccess(took)
	}
}

// begin readies an exchange for a request.
func (x *exchange) begin(f *Front, c client, l *link, r *message.Request, address string, secure bool) {
	x.engine, x.front, x.listener, x.table = f.engine, f, f.listener.Load(), f.engine.table.Load()
	x.client, x.link, x.req, x.address, x.secure = c, l, r, address, secure
	x.start = time.Now()
	x.now = x.start
	x.newID()
}

// reset forgets everything but the memory, so that nothing of one client's reaches another.
func (x *exchange) reset() {
	x.engine, x.front, x.listener, x.table, x.client, x.link, x.req = nil, nil, nil, nil, nil, nil, nil
	x.res.Reset()
	x.id, x.address, x.route, x.server = "", "", nil, nil
	clear(x.tried)
	clear(x.fields)
	x.tried, x.fields, x.line = x.tried[:0], x.fields[:0], x.line[:0]
	x.moves, x.status, x.bytes, x.infos, x.abort, x.secure = 0, 0, 0, 0, false, false
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
