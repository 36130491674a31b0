package vip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestCapability(t *testing.T) {
	if err := explain(nil); err != nil {
		t.Error(err)
	}
	err := explain([]string{"CAP_NET_ADMIN", "CAP_NET_RAW"})
	if !errors.Is(err, ErrCapability) {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{"CAP_NET_ADMIN and CAP_NET_RAW", "setcap cap_net_admin,cap_net_raw", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q says nothing of %q", err, part)
		}
	}
}

// Whatever is left of a right, an element lives shorter, by the ticket's life and a tenth.
func TestLifetime(t *testing.T) {
	for left := -time.Second; left < 2*time.Second; left += 317 * time.Microsecond {
		life := lifetime(left)
		if slowed := life*10/9 + ticketLife; life > 0 && slowed > left {
			t.Fatalf("of %v an element gets %v, which may last %v", left, life, slowed)
		}
		if life%time.Millisecond != 0 {
			t.Fatalf("%v is not whole milliseconds", life)
		}
	}
	if life := lifetime(400 * time.Millisecond); life != 342*time.Millisecond {
		t.Errorf("of 400 ms an element gets %v", life)
	}
}

// synFrame is the first segment of an IPv4 connection from that port, as the socket gives it.
func synFrame(port uint16, sequence byte) []byte {
	frame := make([]byte, vnetHeader+etherHeader+40)
	packet := frame[vnetHeader+etherHeader:]
	packet[0] = 0x45
	copy(packet[12:], []byte{10, 9, 0, 250, 10, 9, 0, 100})
	binary.BigEndian.PutUint16(packet[20:], port)
	packet[23], packet[27], packet[33] = 80, sequence, 2
	return frame
}

// Of 4096 connections one SYN is kept each, the latest, and no more.
func TestCatchBound(t *testing.T) {
	c := &catch{place: map[Flow]int{}}
	for round := range byte(3) {
		for port := range uint16(2 * mostCaught) {
			c.receive(synFrame(port, round))
		}
	}
	if len(c.kept) != mostCaught {
		t.Fatalf("%d are kept", len(c.kept))
	}
	for port, frame := range c.kept {
		if !bytes.Equal(frame, synFrame(uint16(port), 2)) {
			t.Fatalf("of port %d something else is kept", port)
		}
	}
	flow, ok := parseSYN(c.kept[7])
	if want := (Flow{Client: netip.MustParseAddrPort("10.9.0.250:7"), Port: 80}); !ok || flow != want {
		t.Errorf("read %v", flow)
	}
}

func FuzzPackets(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2})
	f.Add(append([]byte{136, 0, 0, 0, 0x60, 0, 0, 0}, append(netip.MustParseAddr("fd09::1").AsSlice(), 2, 1, 2, 0, 0, 0, 0, 1)...))
	f.Add(synFrame(40000, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if address, mac, ok := parseARP(data); ok && (!address.Is4() || len(mac) != 6) {
			t.Errorf("%s %s", address, mac)
		}
		if address, mac, ok := parseAdvertisement(data); ok && (!address.Is6() || len(mac) != 0 && len(mac) != 6) {
			t.Errorf("%s %s", address, mac)
		}
		arrival(data)
		parseAddress(data)
		appendKeys(nil, data)
		if flow, ok := parseSYN(data); ok && !flow.Client.Addr().IsValid() {
			t.Error("a SYN from nobody")
		}
	})
}
