package vip

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func sampleHandover() Handover {
	return Handover{
		Address: netip.MustParseAddr("10.0.0.100"), Limit: 10 * time.Minute, Adds: true,
		Parts: []Part{
			{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Flows: []Flow{
				{Client: netip.MustParseAddrPort("10.0.0.7:40000"), Port: 443}, {Client: netip.MustParseAddrPort("10.0.0.8:1"), Port: 80},
			}},
			{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, Flows: []Flow{}},
		},
	}
}

func TestHandover(t *testing.T) {
	six := sampleHandover()
	six.Address, six.Adds = netip.MustParseAddr("fd09::100"), false
	six.Parts = []Part{{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Flows: []Flow{{Client: netip.MustParseAddrPort("[fd09::7]:40000"), Port: 443}}}}
	for _, want := range []Handover{sampleHandover(), six} {
		data, err := want.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got Handover
		if err := got.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for n := range data {
			if err := got.UnmarshalBinary(data[:n]); !errors.Is(err, errHandover) {
				t.Fatalf("%d of %d bytes: %v", n, len(data), err)
			}
		}
	}
	mixed := sampleHandover()
	mixed.Address = netip.MustParseAddr("fd09::100")
	if _, err := mixed.MarshalBinary(); !errors.Is(err, errHandover) {
		t.Errorf("IPv4 clients of an IPv6 address: %v", err)
	}
}

func FuzzHandover(f *testing.F) {
	sample := sampleHandover()
	data, _ := sample.MarshalBinary()
	f.Add(data)
	f.Add([]byte{1, 16})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Handover
		if h.UnmarshalBinary(data) != nil {
			return
		}
		again, err := h.MarshalBinary()
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("%x read and written is %x, %v", data, again, err)
		}
	})
}
