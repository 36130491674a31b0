package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// MostFlows is how many connections of one VIP can go on through a move. Others are reset.
const MostFlows = 100_000

// Flow is a TCP connection to a VIP.
type Flow struct {
	Client netip.AddrPort
	Port   uint16 // of the VIP
}

// Handover is what the former holder of a VIP tells the next one, so that established connections go on.
type Handover struct {
	Address netip.Addr
	// Limit is for how long at most the connections go on where they are, from when the Handover was made.
	Limit time.Duration
	// Adds: these are besides those of an earlier Handover, and do not replace them.
	Adds  bool
	Parts []Part
}

// Part are the connections that go on at one station. After several moves within the limit there are several.
type Part struct {
	MAC   net.HardwareAddr
	Flows []Flow
}

// Len is the number of connections.
func (h *Handover) Len() int {
	total := 0
	for _, part := range h.Parts {
		total += len(part.Flows)
	}
	return total
}

// The binary form: version (with its highest bit for Adds), length of an address, address, limit in milliseconds (8), number of parts (2); of each part the
// Ethernet address (6), number of flows (4); of each flow address, port (2), port of the VIP (2). Big endian.
const (
	handoverVersion = 1
	handoverAdds    = 0x80
	mostParts       = 64
)

var errHandover = errors.New("not a handover of connections")

// MarshalBinary makes 8 bytes per IPv4 connection, and 20 per IPv6 one.
func (h *Handover) MarshalBinary() ([]byte, error) {
	size := h.Address.BitLen() / 8
	if size == 0 || len(h.Parts) > mostParts || h.Len() > mostParts*MostFlows {
		return nil, fmt.Errorf("encode handover: %w", errHandover)
	}
	out := make([]byte, 0, 12+size+len(h.Parts)*10+h.Len()*(size+4))
	version := byte(handoverVersion)
	if h.Adds {
		version |= handoverAdds
	}
	out = append(out, version, byte(size))
	out = append(out, h.Address.AsSlice()...)
	out = binary.BigEndian.AppendUint64(out, uint64(max(h.Limit, 0).Milliseconds()))
	out = binary.BigEndian.AppendUint16(out, uint16(len(h.Parts)))
	for _, part := range h.Parts {
		if len(part.MAC) != 6 {
			return nil, fmt.Errorf("encode handover: Ethernet address %q: %w", part.MAC, errHandover)
		}
		out = append(out, part.MAC...)
		out = binary.BigEndian.AppendUint32(out, uint32(len(part.Flows)))
		for _, flow := range part.Flows {
			if flow.Client.Addr().BitLen() != h.Address.BitLen() {
				return nil, fmt.Errorf("encode handover: client %s of vip %s: %w", flow.Client, h.Address, errHandover)
			}
			if size == 4 {
				raw := flow.Client.Addr().As4()
				out = append(out, raw[:]...)
			} else {
				raw := flow.Client.Addr().As16()
				out = append(out, raw[:]...)
			}
			out = binary.BigEndian.AppendUint16(out, flow.Client.Port())
			out = binary.BigEndian.AppendUint16(out, flow.Port)
		}
	}
	return out, nil
}

// mostLimit is far more than anybody waits for connections to end, and keeps sums of times in range.
const mostLimit = 7 * 24 * time.Hour

// UnmarshalBinary reads what MarshalBinary made. It takes nothing that is longer than its own content.
func (h *Handover) UnmarshalBinary(data []byte) error {
	if len(data) < 2 || data[0]&^handoverAdds != handoverVersion || data[1] != 4 && data[1] != 16 {
		return fmt.Errorf("read handover: %w", errHandover)
	}
	size, adds := int(data[1]), data[0]&handoverAdds != 0
	data = data[2:]
	if len(data) < size+10 {
		return fmt.Errorf("read handover: cut short: %w", errHandover)
	}
	address, _ := netip.AddrFromSlice(data[:size])
	limit, parts := binary.BigEndian.Uint64(data[size:]), int(binary.BigEndian.Uint16(data[size+8:]))
	data = data[size+10:]
	if limit > uint64(mostLimit.Milliseconds()) || parts > mostParts {
		return fmt.Errorf("read handover: out of bounds: %w", errHandover)
	}
	result := Handover{Address: address, Limit: time.Duration(limit) * time.Millisecond, Adds: adds}
	for range parts {
		if len(data) < 10 {
			return fmt.Errorf("read handover: cut short: %w", errHandover)
		}
		part := Part{MAC: net.HardwareAddr(append([]byte(nil), data[:6]...))}
		count := int(binary.BigEndian.Uint32(data[6:]))
		data = data[10:]
		if count > MostFlows || len(data) < count*(size+4) {
			return fmt.Errorf("read handover: %d connections: %w", count, errHandover)
		}
		part.Flows = make([]Flow, count)
		for i := range part.Flows {
			client, _ := netip.AddrFromSlice(data[:size])
			part.Flows[i] = Flow{
				Client: netip.AddrPortFrom(client, binary.BigEndian.Uint16(data[size:])),
				Port:   binary.BigEndian.Uint16(data[size+2:]),
			}
			data = data[size+4:]
		}
		result.Parts = append(result.Parts, part)
	}
	if len(data) != 0 {
		return fmt.Errorf("read handover: %d bytes too many: %w", len(data), errHandover)
	}
	*h = result
	return nil
}
