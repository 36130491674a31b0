package resolve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the largest reply over UDP that is asked for: no network has to take such a packet apart.
	udpSize = 1232
	// maxJunk is how many packets that are no reply to the question are passed over.
	maxJunk = 1000
)

// patience is how long a name server may take, in the first round and in the second.
func patience() []time.Duration { return []time.Duration{time.Second, 3 * time.Second} }

// ask asks the name servers one question, each in turn until one knows. It returns who answered. The error says what each of them did.
func ask(ctx context.Context, servers []netip.AddrPort, q dns.Question) (content, netip.AddrPort, error) {
	faults := make([]string, len(servers))
	for _, timeout := range patience() {
		for i, server := range servers {
			if faults[i] != "" && !strings.HasPrefix(faults[i], silence) {
				continue // what it said once it will say again
			}
			m, err := exchange(ctx, server, q, timeout)
			var c content
			if err == nil {
				c, err = read(m, q)
			}
			if err == nil {
				return c, server, nil
			}
			if faults[i] = plainly(err, timeout); ctx.Err() != nil {
				faults = faults[:i+1]
				return content{}, server, told(servers, faults)
			}
		}
	}
	return content{}, netip.AddrPort{}, told(servers, faults)
}

// told is the error of name servers that did not know.
func told(servers []netip.AddrPort, faults []string) error {
	var said []string
	for i, f := range faults {
		if f != "" {
			said = append(said, servers[i].String()+" "+f)
		}
	}
	return errors.New(strings.Join(said, ", "))
}

// silence is how the fault of a server begins that may answer the next time.
const silence = "did not answer"

// plainly says what a name server did.
func plainly(err error, timeout time.Duration) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("%s within %s", silence, timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is no name server (connection refused)"
	case errors.As(err, &op):
		return "cannot be asked: " + op.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "ended the connection without an answer"
	case errors.Is(err, errUnusable), errors.Is(err, errEndless):
		return "says: " + err.Error()
	}
	if _, ok := dns.StringToRcode[err.Error()]; ok {
		return "failed (" + err.Error() + ")"
	}
	return err.Error()
}

// exchange asks one name server: over UDP, over TCP if the reply does not fit in there, and without EDNS0 if the server does not know that.
func exchange(ctx context.Context, server netip.AddrPort, q dns.Question, timeout time.Duration) (*dns.Msg, error) {
	m := &dns.Msg{Question: []dns.Question{q}}
	m.RecursionDesired = true
	m.SetEdns0(udpSize, false)
	for {
		m.Id = dns.Id()
		reply, err := over(ctx, "udp", server, m, timeout)
		if err == nil && reply.Truncated {
			reply, err = over(ctx, "tcp", server, m, timeout)
			if err == nil && reply.Truncated {
				return nil, errors.New("sends less than the whole answer")
			}
		}
		if err != nil {
			return nil, err
		}
		if code := reply.Rcode; len(m.Extra) == 0 || code != dns.RcodeFormatError && code != dns.RcodeNotImplemented && code != dns.RcodeBadVers {
			return reply, nil
		}
		m.Extra = nil
	}
}

// over sends a question by one transport, from a port of its own, and waits for the reply to it.
func over(ctx context.Context, network string, server netip.AddrPort, m *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	packed, err := m.Pack()
	if err != nil {
		return nil, err
	}
	if network == "tcp" {
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
			return nil, err
		}
		return readStream(conn, m)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	return readPackets(conn, m)
}

// readPackets waits for the reply, past whatever else comes from the server's address: late replies, and what others send in its name.
func readPackets(conn net.Conn, m *dns.Msg) (*dns.Msg, error) {
	packet := make([]byte, 4096)
	for range maxJunk {
		n, err := conn.Read(packet)
		if err != nil {
			return nil, err
		}
		if reply := parse(packet[:n], m); reply != nil {
			return reply, nil
		}
	}
	return nil, fmt.Errorf("sent %d packets that are no reply to the question", maxJunk)
}

// readStream reads the one message that follows on a TCP connection.
func readStream(conn net.Conn, m *dns.Msg) (*dns.Msg, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return nil, err
	}
	if reply := parse(message, m); reply != nil {
		return reply, nil
	}
	return nil, errors.New("sent something else than a reply to the question")
}

// parse reads a reply to m; nil if it is none.
func parse(b []byte, m *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	err := reply.Unpack(b)
	if reply.Id != m.Id || !reply.Response || reply.Opcode != dns.OpcodeQuery {
		return nil
	}
	failed := reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError
	if same := slices.EqualFunc(reply.Question, m.Question, sameQuestion); !same && (!failed || len(reply.Question) > 0) {
		return nil // a server that could not read the question may not repeat it
	}
	if err != nil && !reply.Truncated { // what was cut off may have been cut in the middle of a record
		return nil
	}
	return reply
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}
