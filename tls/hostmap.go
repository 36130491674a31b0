package tls

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const hostShards = 512

// hostMap finds certificates by host. Readers take no lock and allocate nothing; a writer copies one of
// many small maps, so that changing one host among ten thousand costs a microsecond or so. Writers
// must not run at the same time.
type hostMap struct {
	seed   maphash.Seed
	shards [hostShards]atomic.Pointer[map[string]*certificate]
}

func newHostMap() *hostMap { return &hostMap{seed: maphash.MakeSeed()} }

func (h *hostMap) shard(host string) *atomic.Pointer[map[string]*certificate] {
	return &h.shards[maphash.String(h.seed, host)%hostShards]
}

// get returns nil if there is none.
func (h *hostMap) get(host string) *certificate {
	shard := h.shard(host).Load()
	if shard == nil {
		return nil
	}
	return (*shard)[host]
}

// set adds, replaces or, with nil, removes.
func (h *hostMap) set(host string, cert *certificate) {
	pointer := h.shard(host)
	old := pointer.Load()
	fresh := make(map[string]*certificate, 1)
	if old != nil {
		fresh = make(map[string]*certificate, len(*old)+1)
		for key, value := range *old {
			fresh[key] = value
		}
	}
	if cert == nil {
		delete(fresh, host)
	} else {
		fresh[host] = cert
	}
	pointer.Store(&fresh)
}

// normalHost is the form of a host in maps and keys: lower case, no final dot.
func normalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// parentOf returns what a wildcard that covers the host stands before: "b.c" for "a.b.c", or "".
func parentOf(host string) string {
	if dot := strings.IndexByte(host, '.'); dot > 0 {
		return host[dot+1:]
	}
	return ""
}
