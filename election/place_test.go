package election

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// vipList makes addresses 10.0.0.1 and so on.
func vipList(n int) []netip.Addr {
	vips := []netip.Addr{}
	for i := range n {
		vips = append(vips, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
	}
	return vips
}

// wishes asks for nothing in particular.
func wishes(vips []netip.Addr) []Wish {
	all := []Wish{}
	for _, vip := range vips {
		all = append(all, Wish{Address: vip})
	}
	return all
}

func ready(names ...string) []Candidate {
	nodes := []Candidate{}
	for _, name := range names {
		nodes = append(nodes, Candidate{Name: name, Ready: true})
	}
	return nodes
}

func TestPlace(t *testing.T) {
	draining := []Candidate{{Name: "a", Ready: true, Draining: true}, {Name: "b", Ready: true}, {Name: "c"}}
	tests := []struct {
		name      string
		holders   []string // of the records, one for each address; "-" for no record
		nodes     []Candidate
		suspected string
		want      []string // "-" for none
	}{
		{"first placement spreads", []string{"-", "-", "-", "-"}, ready("c", "a", "b"), "", []string{"a", "b", "c", "a"}},
		{"holders stay, even if uneven", []string{"a", "a", "a"}, ready("a", "b"), "", []string{"a", "a", "a"}},
		{"new ones go to the least loaded", []string{"a", "b", "a", "-", "-"}, ready("a", "b", "c"), "", []string{"a", "b", "a", "c", "b"}},
		{"a dead holder's are spread", []string{"x", "x", "a"}, ready("a", "b", "c"), "", []string{"b", "c", "a"}},
		{"a suspected holder's as well", []string{"a", "b"}, ready("a", "b"), "a", []string{"b", "b"}},
		{"a suspected node gets none", []string{"-", "-"}, ready("a", "b"), "a", []string{"b", "b"}},
		{"draining and unready", []string{"a", "c", "-"}, draining, "", []string{"b", "b", "b"}},
		{"no candidates", []string{"a", "x", "-", ""}, draining[:1], "", []string{"a", "x", "-", "-"}},
		{"no nodes", []string{"a", "-"}, nil, "", []string{"a", "-"}},
		{"a record that names nobody", []string{""}, ready("a"), "", []string{"a"}},
		{"a node listed twice", []string{"-"}, append(ready("b"), Candidate{Name: "b", Ready: true}), "", []string{"b"}},
		{"no addresses", nil, ready("a"), "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			vips := vipList(len(test.holders))
			records := map[netip.Addr]Record{}
			want := map[netip.Addr]string{}
			for i, vip := range vips {
				if test.holders[i] != "-" {
					records[vip] = Record{Holder: test.holders[i], Revision: 1}
				}
				if test.want[i] != "-" {
					want[vip] = test.want[i]
				}
			}
			suspected := func(name string) bool { return name == test.suspected }
			nodes := slices.Clone(test.nodes)
			for range 5 {
				if got := Place(View{VIPs: wishes(vips), Records: records, Nodes: nodes, Suspected: suspected}); !maps.Equal(got, want) {
					t.Fatalf("placed %v, want %v", got, want)
				}
				rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
			}
		})
	}
	if got := Place(View{VIPs: wishes(append(vipList(2), vipList(2)...)), Nodes: ready("a", "b")}); len(got) != 2 {
		t.Errorf("doubled addresses: %v", got)
	}
}

// Whatever happens to nodes, addresses whose holder is well never move, and placing again changes nothing.
func TestPlaceIsStable(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		vips := vipList(1 + rng.IntN(12))
		records := map[netip.Addr]Record{}
		for range 10 {
			nodes := []Candidate{}
			for i := range 5 {
				if rng.IntN(4) > 0 {
					nodes = append(nodes, Candidate{Name: fmt.Sprint("n", i), Ready: rng.IntN(4) > 0, Draining: rng.IntN(6) == 0})
				}
			}
			able := map[string]bool{}
			for _, node := range nodes {
				able[node.Name] = node.able()
			}
			placed := Place(View{VIPs: wishes(vips), Records: records, Nodes: nodes})
			for _, vip := range vips {
				before := records[vip].Holder
				if able[before] && placed[vip] != before {
					t.Fatalf("seed %d: %s moved from %s to %s", seed, vip, before, placed[vip])
				}
				if placed[vip] != "" {
					records[vip] = Record{Holder: placed[vip], Revision: 1}
				}
			}
			if again := Place(View{VIPs: wishes(vips), Records: records, Nodes: nodes}); !maps.Equal(again, placed) {
				t.Fatalf("seed %d: placed %v, then %v", seed, placed, again)
			}
		}
	}
}

func TestDecideSparesHoldersUntilSettled(t *testing.T) {
	vips := vipList(4)
	records := map[netip.Addr]Record{
		vips[0]: {Holder: "gone", Revision: 1}, vips[1]: {Holder: "slow", Revision: 2}, vips[2]: {Holder: "dead", Revision: 3},
	}
	nodes := append(ready("a", "dead"), Candidate{Name: "slow"})
	p := NewPlacer(PlacerConfig{Suspected: func(name string) bool { return name == "dead" }})
	moved := func(settled bool) []string {
		names := []string{}
		for _, c := range p.decide(View{VIPs: wishes(vips), Records: records, Nodes: nodes, Suspected: p.cfg.Suspected}, settled) {
			names = append(names, c.before.Holder+": "+c.reason)
		}
		return names
	}
	if got, want := moved(false), []string{"dead: dead does not answer", ": held by nobody"}; !slices.Equal(got, want) {
		t.Errorf("at first: %q", got)
	}
	want := []string{"gone: gone is not a living node", "slow: slow is not ready", "dead: dead does not answer", ": held by nobody"}
	if got := moved(true); !slices.Equal(got, want) {
		t.Errorf("settled: %q", got)
	}
}
