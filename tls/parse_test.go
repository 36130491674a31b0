package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// FuzzParsePair feeds Add's parser. What it takes, crypto/tls must be able to serve.
func FuzzParsePair(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: newSerial(), DNSNames: []string{"a.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM, err := encodeKey(key)
	if err != nil {
		f.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(certPEM, keyPEM)
	f.Add(append(certPEM, certPEM...), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	f.Add(keyPEM, certPEM)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), keyPEM)
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, certPEM, keyPEM []byte) {
		pair, _, err := parsePair(certPEM, keyPEM, time.Now())
		if err != nil {
			return
		}
		if len(pair.Certificate) == 0 || len(pair.Certificate) > addedChain || len(certificateHosts(pair.Leaf)) == 0 {
			t.Fatalf("taken: %d certificates for %v", len(pair.Certificate), certificateHosts(pair.Leaf))
		}
		sealer := mustSecret(t, oneSecret).Sealer()
		value, err := sealBundle(sealer, "/x", pair.Certificate, pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := openCertificate(sealer, Item{Key: "/x", Value: value}, "x", Added)
		if err != nil {
			t.Fatal(err)
		}
		ready, err := cert.use()
		if err != nil {
			t.Fatal(err)
		}
		if !sameKey(ready.Leaf.PublicKey, ready.PrivateKey.(crypto.Signer).Public()) {
			t.Fatal("the key does not belong to the leaf")
		}
	})
}

// filled returns a manager that serves so many hosts, without any storage.
func filled(t testing.TB, count int) *Manager {
	t.Helper()
	m := New(Options{Sealer: mustSecret(t, oneSecret).Sealer()})
	item, err := newInternalCA(m.sealer, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := openInternalCA(m.sealer, item)
	if err != nil {
		t.Fatal(err)
	}
	items := []Item{{Key: KeyCA, Value: item.Value, Revision: 2}}
	hosts := make([]string, count)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("host%d.example.test", i)
		cert, err := ca.issue(m.sealer, hosts[i], time.Now())
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, Item{Key: cert.item.Key, Value: cert.item.Value, Revision: int64(3 + i)})
	}
	m.applyItems(items)
	m.SetHosts(hosts, []netip.Addr{home})
	return m
}

// The look-up of a certificate in a handshake must not grow with the number of hosts.
func BenchmarkCertificateLookup(b *testing.B) {
	for _, count := range []int{10, 10000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			m := filled(b, count)
			hellos := make([]*stdtls.ClientHelloInfo, count)
			for i := range hellos {
				hellos[i] = &stdtls.ClientHelloInfo{ServerName: fmt.Sprintf("host%d.example.test", i)}
				if _, err := m.getCertificate(hellos[i]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := m.getCertificate(hellos[i%count]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A change of one host among ten thousand, as the watch brings it.
func BenchmarkApply(b *testing.B) {
	m := filled(b, 10000)
	item := m.items[KeyInternal+"host5.example.test"]
	b.ReportAllocs()
	for b.Loop() {
		item.Revision++
		m.applyItems([]Item{item})
	}
}

// What ten thousand known hosts cost in memory, before and after each was asked for.
func BenchmarkMemory(b *testing.B) {
	heap := func() float64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		m := filled(b, 10000)
		known := heap()
		for host := range m.wanted.Load().hosts {
			if cert := m.internal.get(host); cert != nil {
				if _, err := cert.use(); err != nil {
					b.Fatal(err)
				}
			}
		}
		used := heap()
		b.ReportMetric((known-before)/10000, "B/known")
		b.ReportMetric((used-before)/10000, "B/used")
		runtime.KeepAlive(m)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	m := filled(t, 100)
	hello := &stdtls.ClientHelloInfo{ServerName: "host7.example.test"}
	if allocations := testing.AllocsPerRun(100, func() { m.getCertificate(hello) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
