//go:build linux

package lab

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func frameOf(t testing.TB, text string) []byte {
	t.Helper()
	frame, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// Frames as tcpdump shows them.
const (
	arpReplyFrame    = "027700000033 027700000001 0806 0001 0800 06 04 0002 027700000001 0a4d0064 027700000033 0a4d0033"
	arpRequestFrame  = "ffffffffffff 027700000001 0806 0001 0800 06 04 0001 027700000001 0a4d0064 000000000000 0a4d0033"
	arpAnnounceFrame = "ffffffffffff 027700000001 0806 0001 0800 06 04 0001 027700000001 0a4d0064 000000000000 0a4d0064"
	arpProbeFrame    = "ffffffffffff 027700000001 0806 0001 0800 06 04 0001 027700000001 00000000 000000000000 0a4d0064"
	synACKFrame      = "027700000032 027700000001 0800 4500003c 00004000 40060000 0a4d0064 0a4d0032 0050c001 11223344 55667788 a012fe88 00000000"
	ackFrame         = "027700000032 027700000001 0800 4500003c 00004000 40060000 0a4d0064 0a4d0032 0050c001 11223344 55667788 a010fe88 00000000"
	adFrame          = "027700000033 027700000001 86dd 60000000 0020 3a ff fd770000000000000000000000000100 fd770000000000000000000000000051 88 00 0000 60000000 fd770000000000000000000000000100 0201027700000001"
	adToAllFrame     = "333300000001 027700000001 86dd 60000000 0020 3a ff fd770000000000000000000000000100 ff020000000000000000000000000001 88 00 0000 20000000 fd770000000000000000000000000100 0201027700000001"
	solicitFrame     = "3333ff000051 027700000001 86dd 60000000 0020 3a ff fd770000000000000000000000000100 ff0200000000000000000001ff000051 87 00 0000 00000000 fd770000000000000000000000000051 0101027700000001"
	detectFrame      = "3333ff000100 027700000001 86dd 60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff000100 87 00 0000 00000000 fd770000000000000000000000000100"
	synACK6Frame     = "027700000032 027700000001 86dd 60000000 0014 06 40 fd770000000000000000000000000100 fd770000000000000000000000000050 0050c001 11223344 55667788 5012fe88 00000000"
)

func TestReadClaim(t *testing.T) {
	vip4, vip6 := netip.MustParseAddr("10.77.0.100"), netip.MustParseAddr("fd77::100")
	for _, c := range []struct {
		frame   string
		address netip.Addr
		what    string
	}{
		{arpReplyFrame, vip4, "ARP reply"},
		{arpRequestFrame, vip4, "ARP request"},
		{arpAnnounceFrame, vip4, "ARP announcement"},
		{arpProbeFrame, netip.Addr{}, ""},
		{synACKFrame, vip4, "SYN-ACK"},
		{ackFrame, netip.Addr{}, ""},
		{adFrame, vip6, "neighbour advertisement"},
		{adToAllFrame, vip6, "unsolicited neighbour advertisement"},
		{solicitFrame, vip6, "neighbour solicitation"},
		{detectFrame, netip.Addr{}, ""},
		{synACK6Frame, vip6, "SYN-ACK"},
	} {
		frame := frameOf(t, c.frame)
		got, ok := readClaim(frame)
		if ok != (c.what != "") || got.address != c.address || got.what != c.what {
			t.Errorf("%s: %v %+v; want %s, %q", c.frame, ok, got, c.address, c.what)
		}
		if ok && got.mac != [6]byte{2, 0x77, 0, 0, 0, 1} {
			t.Errorf("%s: from % x", c.frame, got.mac)
		}
		for i := range frame {
			if i < etherHead+arpLength && ok {
				if _, ok := readClaim(frame[:i]); ok {
					t.Errorf("%d bytes of %s are a claim", i, c.frame)
				}
			}
		}
	}
}

// Questions are frames that say of the asker what is true, and of the address nothing.
func TestQuestion(t *testing.T) {
	h := &Host{MAC: net.HardwareAddr{2, 0x77, 0, 0, 0, 0x33}, IP4: address4(51), IP6: address6(51)}
	for _, address := range []netip.Addr{address4(100), address6(100)} {
		asker := h.IP4
		if address.Is6() {
			asker = h.IP6
		}
		got, ok := readClaim(question(h, address))
		if !ok || got.address != asker || got.mac != [6]byte(h.MAC) {
			t.Errorf("the question for %s says %v %+v", address, ok, got)
		}
	}
}

func FuzzReadClaim(f *testing.F) {
	for _, text := range []string{
		arpReplyFrame, arpRequestFrame, arpAnnounceFrame, arpProbeFrame, synACKFrame, ackFrame, adFrame, adToAllFrame, solicitFrame,
		detectFrame, synACK6Frame,
	} {
		f.Add(frameOf(f, text))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		c, ok := readClaim(frame)
		if ok && (!c.address.IsValid() || c.what == "") {
			t.Errorf("%x: %+v", frame, c)
		}
		if !ok && c != (claim{}) {
			t.Errorf("%x: no claim, but %+v", frame, c)
		}
	})
}
