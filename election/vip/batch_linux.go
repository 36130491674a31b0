package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// nft is a socket to nf_tables. The library github.com/google/nftables encodes the expressions of rules; the
// messages are made here, because renewals must not allocate much, 100,000 elements must be handed over in one
// piece, and every error must be known to belong to one message of a transaction.
type nft struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	in  []byte
}

func openNFT() (*nft, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	// An error without a copy of the message that caused it. Old kernels do without this.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &nft{fd: fd, seq: uint32(time.Now().UnixNano()), in: make([]byte, 64<<10)}, nil
}

func (n *nft) close() error { return unix.Close(n.fd) }

// batchError is the first error that the kernel had with a transaction. None of it was applied.
type batchError struct {
	index int // of the message in the transaction; -1 if the kernel does not say
	what  string
	errno unix.Errno
}

func (e *batchError) Error() string { return fmt.Sprintf("nf_tables: %s: %v", e.what, e.errno) }
func (e *batchError) Unwrap() error { return e.errno }

// failedAt says with which message a transaction failed, and whether for want of the thing that it names.
func failedAt(err error) (index int, missing bool) {
	var failure *batchError
	if !errors.As(err, &failure) {
		return -1, false
	}
	return failure.index, failure.errno == unix.ENOENT
}

// send commits the batch as one transaction: all of it at one moment, or nothing.
func (n *nft) send(b *batch) error {
	if b.err != nil {
		return b.err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	b.begin(unix.NFNL_MSG_BATCH_END, unix.AF_UNSPEC, 0)
	binary.BigEndian.PutUint16(b.buf[len(b.buf)-2:], unix.NFNL_SUBSYS_NFTABLES)
	b.end()
	first := n.seq + 1
	for i, at := range b.starts {
		n.seq++
		binary.NativeEndian.PutUint32(b.buf[at+8:], n.seq)
		if i == len(b.starts)-2 { // the kernel reports every error; one receipt is enough
			flags := binary.NativeEndian.Uint16(b.buf[at+6:])
			binary.NativeEndian.PutUint16(b.buf[at+6:], flags|unix.NLM_F_ACK)
		}
	}
	if len(b.buf) > 64<<10 {
		if err := unix.SetsockoptInt(n.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*len(b.buf)); err != nil {
			return fmt.Errorf("nf_tables: make room for a large transaction: %w", err)
		}
	}
	if err := retry(func() error {
		return unix.Sendto(n.fd, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); err != nil {
		return fmt.Errorf("nf_tables: send: %w", err)
	}
	return n.receipt(first, b)
}

// receipt reads the kernel's answers, all of which are there when the transaction has been sent.
func (n *nft) receipt(first uint32, b *batch) error {
	var failure error
	received := false
	for {
		var size int
		err := retry(func() (err error) {
			size, _, err = unix.Recvfrom(n.fd, n.in, unix.MSG_DONTWAIT)
			return err
		})
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return fmt.Errorf("nf_tables: receive: %w", err)
		}
		for in := n.in[:size]; len(in) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(in))
			if length < unix.NLMSG_HDRLEN || length > len(in) {
				break
			}
			if binary.NativeEndian.Uint16(in[4:]) == unix.NLMSG_ERROR && length >= unix.NLMSG_HDRLEN+4 {
				index := int(int32(binary.NativeEndian.Uint32(in[8:]) - first))
				errno := unix.Errno(-int32(binary.NativeEndian.Uint32(in[16:])))
				switch {
				case index < 0 || index >= len(b.starts):
					// from a transaction whose answers were not all read
				case errno == 0:
					received = true
				case failure == nil:
					failure = &batchError{index: index, what: b.names[index], errno: errno}
				}
			}
			in = in[min(align(length), len(in)):]
		}
	}
	if failure == nil && !received {
		return &batchError{index: -1, what: "no receipt", errno: unix.EIO}
	}
	return failure
}

// retry repeats what a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func align(n int) int { return (n + 3) &^ 3 }

// batch is a transaction in the making.
type batch struct {
	buf    []byte
	starts []int    // where each message begins, the first being the beginning of the transaction
	names  []string // what each is, for people
	err    error
}

func newBatch() *batch {
	b := &batch{}
	b.begin(unix.NFNL_MSG_BATCH_BEGIN, unix.AF_UNSPEC, 0)
	binary.BigEndian.PutUint16(b.buf[len(b.buf)-2:], unix.NFNL_SUBSYS_NFTABLES)
	b.end()
	b.names[0] = "transaction"
	return b
}

// begin starts a message; kind is of nf_tables unless it is one of the bounds of the transaction.
func (b *batch) begin(kind int, family byte, flags uint16) {
	b.starts = append(b.starts, len(b.buf))
	b.names = append(b.names, "")
	if kind != unix.NFNL_MSG_BATCH_BEGIN && kind != unix.NFNL_MSG_BATCH_END {
		kind |= unix.NFNL_SUBSYS_NFTABLES << 8
	}
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0) // length, see end
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(kind))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, unix.NLM_F_REQUEST|flags)
	b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0) // sequence number, port
	b.buf = append(b.buf, family, unix.NFNETLINK_V0, 0, 0)
}

// end completes the message and returns its index in the transaction.
func (b *batch) end() int {
	at := b.starts[len(b.starts)-1]
	binary.NativeEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
	return len(b.starts) - 1
}

func (b *batch) attr(kind uint16, value []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(value)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = append(b.buf, value...)
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *batch) text(kind uint16, value string) { b.attr(kind, append([]byte(value), 0)) }

func (b *batch) number(kind uint16, value uint32) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 8)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.BigEndian.AppendUint32(b.buf, value)
}

func (b *batch) long(kind uint16, value uint64) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 12)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.BigEndian.AppendUint64(b.buf, value)
}

// nest opens an attribute that holds others; the result closes it.
func (b *batch) nest(kind uint16) int {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind|unix.NLA_F_NESTED)
	return len(b.buf) - 4
}

func (b *batch) close(at int) { binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at)) }

// table adds a table, if it is not there.
func (b *batch) table(family byte) {
	b.begin(unix.NFT_MSG_NEWTABLE, family, unix.NLM_F_CREATE)
	b.names[len(b.names)-1] = "add table"
	b.text(unix.NFTA_TABLE_NAME, tableName)
	b.end()
}

// dropTable deletes a table, which must be there.
func (b *batch) dropTable(family byte) {
	b.begin(unix.NFT_MSG_DELTABLE, family, 0)
	b.names[len(b.names)-1] = "delete table"
	b.text(unix.NFTA_TABLE_NAME, tableName)
	b.end()
}

// chain adds a chain that other rules jump to.
func (b *batch) chain(family byte, name string) {
	b.begin(unix.NFT_MSG_NEWCHAIN, family, unix.NLM_F_CREATE)
	b.names[len(b.names)-1] = "add chain " + name
	b.text(unix.NFTA_CHAIN_TABLE, tableName)
	b.text(unix.NFTA_CHAIN_NAME, name)
	b.end()
}

// hook adds a chain that the kernel runs, accepting what no rule drops. device is for family netdev.
func (b *batch) hook(family byte, name string, hook uint32, device string) {
	b.begin(unix.NFT_MSG_NEWCHAIN, family, unix.NLM_F_CREATE)
	b.names[len(b.names)-1] = "add chain " + name
	b.text(unix.NFTA_CHAIN_TABLE, tableName)
	b.text(unix.NFTA_CHAIN_NAME, name)
	at := b.nest(unix.NFTA_CHAIN_HOOK)
	b.number(unix.NFTA_HOOK_HOOKNUM, hook)
	priority := int32(hookPriority)
	b.number(unix.NFTA_HOOK_PRIORITY, uint32(priority))
	if device != "" {
		b.text(unix.NFTA_HOOK_DEV, device)
	}
	b.close(at)
	b.number(unix.NFTA_CHAIN_POLICY, 1) // NF_ACCEPT
	b.text(unix.NFTA_CHAIN_TYPE, "filter")
	b.end()
}

// flush deletes the rules of a chain.
func (b *batch) flush(family byte, chain string) {
	b.begin(unix.NFT_MSG_DELRULE, family, 0)
	b.names[len(b.names)-1] = "flush chain " + chain
	b.text(unix.NFTA_RULE_TABLE, tableName)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	b.end()
}

// rule appends a rule to a chain.
func (b *batch) rule(family byte, chain string, parts ...expr.Any) {
	b.begin(unix.NFT_MSG_NEWRULE, family, unix.NLM_F_CREATE|unix.NLM_F_APPEND)
	b.names[len(b.names)-1] = fmt.Sprintf("add rule %d to chain %s", len(b.starts), chain)
	b.text(unix.NFTA_RULE_TABLE, tableName)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	list := b.nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, part := range parts {
		if own, ok := part.(*raw); ok {
			b.raw(own)
			continue
		}
		encoded, err := expr.Marshal(family, part)
		if err != nil {
			b.err = errors.Join(b.err, fmt.Errorf("nf_tables: encode a rule of chain %s: %w", chain, err))
		}
		b.attr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, encoded)
	}
	b.close(list)
	b.end()
}

// raw is an expression that the library does not have, or not in full: its name and its numeric attributes.
type raw struct {
	expr.Any
	name    string
	numbers []uint32 // attribute, value, attribute, value, …
}

func (b *batch) raw(part *raw) {
	element := b.nest(unix.NFTA_LIST_ELEM)
	b.text(unix.NFTA_EXPR_NAME, part.name)
	data := b.nest(unix.NFTA_EXPR_DATA)
	for i := 0; i < len(part.numbers); i += 2 {
		b.number(uint16(part.numbers[i]), part.numbers[i+1])
	}
	b.close(data)
	b.close(element)
}

// set is a set or map of the own tables.
type set struct {
	family byte
	name   string
	key    int           // length of the key in bytes
	kind   uint32        // data type of the key, for "nft list"; 0 for none
	value  int           // of a map: length of the value
	expire bool          // elements have timeouts
	fill   time.Duration // added to by packets, with this timeout
	size   uint32        // at most so many elements; 0 is no limit
}

func (b *batch) set(s *set) {
	b.begin(unix.NFT_MSG_NEWSET, s.family, unix.NLM_F_CREATE)
	b.names[len(b.names)-1] = "add set " + s.name
	b.text(unix.NFTA_SET_TABLE, tableName)
	b.text(unix.NFTA_SET_NAME, s.name)
	var flags uint32
	if s.expire {
		flags |= unix.NFT_SET_TIMEOUT
	}
	if s.value > 0 {
		flags |= unix.NFT_SET_MAP
	}
	if s.fill > 0 {
		flags |= unix.NFT_SET_EVAL
	}
	b.number(unix.NFTA_SET_FLAGS, flags)
	b.number(unix.NFTA_SET_KEY_TYPE, s.kind)
	b.number(unix.NFTA_SET_KEY_LEN, uint32(s.key))
	b.number(unix.NFTA_SET_ID, uint32(len(b.starts)))
	if s.value > 0 {
		b.number(unix.NFTA_SET_DATA_TYPE, 0)
		b.number(unix.NFTA_SET_DATA_LEN, uint32(s.value))
	}
	if s.fill > 0 {
		b.long(unix.NFTA_SET_TIMEOUT, uint64(s.fill.Milliseconds()))
	}
	if s.size > 0 {
		at := b.nest(unix.NFTA_SET_DESC)
		b.number(unix.NFTA_SET_DESC_SIZE, s.size)
		b.close(at)
	}
	b.end()
}

// element is one of a set; a timeout of 0 is none, and value is for maps.
type element struct {
	key, value []byte
	timeout    time.Duration
}

// most bytes of elements in one message, whose list must be shorter than 64 KiB.
const mostElements = 60_000

// add puts elements into a set.
func (b *batch) add(s *set, elements ...element) int {
	return b.elements(unix.NFT_MSG_NEWSETELEM, unix.NLM_F_CREATE, "add to set ", s, elements)
}

// remove takes elements, which must be there and not have expired, out of a set.
func (b *batch) remove(s *set, elements ...element) int {
	return b.elements(unix.NFT_MSG_DELSETELEM, 0, "remove from set ", s, elements)
}

func (b *batch) elements(kind int, flags uint16, verb string, s *set, elements []element) int {
	index := len(b.starts)
	for len(elements) > 0 {
		b.begin(kind, s.family, flags)
		b.names[len(b.names)-1] = verb + s.name
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
		list := b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for len(elements) > 0 && len(b.buf)-list < mostElements {
			b.element(&elements[0])
			elements = elements[1:]
		}
		b.close(list)
		b.end()
	}
	return index
}

func (b *batch) element(e *element) {
	item := b.nest(unix.NFTA_LIST_ELEM)
	key := b.nest(unix.NFTA_SET_ELEM_KEY)
	b.attr(unix.NFTA_DATA_VALUE, e.key)
	b.close(key)
	if len(e.value) > 0 {
		value := b.nest(unix.NFTA_SET_ELEM_DATA)
		b.attr(unix.NFTA_DATA_VALUE, e.value)
		b.close(value)
	}
	if e.timeout > 0 {
		b.long(unix.NFTA_SET_ELEM_TIMEOUT, uint64(e.timeout.Milliseconds()))
	}
	b.close(item)
}

// clear deletes all elements of a set.
func (b *batch) clear(s *set) {
	b.begin(unix.NFT_MSG_DELSETELEM, s.family, 0)
	b.names[len(b.names)-1] = "clear set " + s.name
	b.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	b.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	b.end()
}
