package tls_test

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"tripod/node/etcd"
	"tripod/tls"
)

// etcdHome is where the etcd servers of these tests listen.
const etcdHome = "127.71.0.2"

// shared is the one etcd of this test binary; every test empties it first.
var shared struct {
	once   sync.Once
	server *embed.Etcd
	client *clientv3.Client
	folder string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.client.Close()
		shared.server.Close()
	}
	os.RemoveAll(shared.folder)
	os.Exit(code)
}

// store returns an empty storage on the shared etcd, and a client for it.
func store(t testing.TB) (*etcd.Storage, *clientv3.Client) {
	t.Helper()
	shared.once.Do(func() {
		if shared.folder, shared.err = os.MkdirTemp("", "tls-test-etcd"); shared.err != nil {
			return
		}
		if shared.server, shared.err = embed.StartEtcd(etcdConfig(shared.folder, "http")); shared.err != nil {
			return
		}
		<-shared.server.Server.ReadyNotify()
		shared.client = v3client.New(shared.server.Server)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := shared.client.Delete(ctx, "/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	return etcd.NewStorage(shared.client), shared.client
}

func etcdConfig(folder, scheme string) *embed.Config {
	any := []url.URL{{Scheme: scheme, Host: etcdHome + ":0"}}
	config := embed.NewConfig()
	config.Dir = folder
	config.ListenPeerUrls, config.AdvertisePeerUrls = any, any
	config.ListenClientUrls, config.AdvertiseClientUrls = any, any
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs, config.ElectionMs = 50, 500
	config.UnsafeNoFsync = true
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return config
}

// etcd itself, which reads the files, and its client work with an identity, and refuse another secret.
func TestEtcdTakesIdentity(t *testing.T) {
	fingerprint := ""
	identity := func(text string) *tls.Identity {
		t.Helper()
		secret, err := tls.ParseSecret([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if fingerprint == "" {
			fingerprint = secret.Fingerprint()
		}
		folder := filepath.Join(t.TempDir(), "pki")
		identity, err := secret.Authority().NewIdentity("node1", []netip.Addr{netip.MustParseAddr(etcdHome)}, folder, nil)
		if err != nil {
			t.Fatal(err)
		}
		return identity
	}
	ours := identity(testSecret)
	ca, cert, key := ours.Files()
	files := transport.TLSInfo{CertFile: cert, KeyFile: key, ClientCertFile: cert, ClientKeyFile: key, TrustedCAFile: ca, ClientCertAuth: true, SkipClientSANVerify: true}
	config := etcdConfig(t.TempDir(), "https")
	config.PeerTLSInfo, config.ClientTLSInfo = files, files
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		t.Fatal(err)
	}
	dial := func(config *stdtls.Config) error {
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{"https://" + server.Clients[0].Addr().String()},
			TLS:       config,
			Logger:    zap.NewNop(),
		})
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = client.Put(ctx, "/x", "y")
		return err
	}
	if err := dial(ours.Client()); err != nil {
		t.Fatal(err)
	}
	etcdctl, err := transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: ca}.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := dial(etcdctl); err != nil {
		t.Errorf("as etcdctl dials: %v", err)
	}
	if err := ours.Renew(); err != nil {
		t.Fatal(err)
	}
	if err := dial(ours.Client()); err != nil {
		t.Errorf("after a renewal: %v", err)
	}
	theirs := identity("a secret that is another")
	for _, port := range []string{server.Clients[0].Addr().String(), server.Peers[0].Addr().String()} {
		// clientv3 itself says no more than that its time was over.
		_, err := stdtls.Dial("tcp", port, theirs.Client())
		if err = theirs.ExplainPeer(port, err); !errors.Is(err, tls.ErrWrongSecret) || !strings.Contains(err.Error(), "theirs is "+fingerprint) {
			t.Errorf("another secret: %v", err)
		}
		careless := theirs.Client()
		careless.InsecureSkipVerify = true
		if _, err := shake(port, careless); !errors.Is(theirs.ExplainPeer(port, err), tls.ErrWrongSecret) {
			t.Errorf("etcd let another secret in: %v", err)
		}
	}
	// The peer port as rafthttp dials it.
	peers, err := transport.NewTransport(files, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer peers.CloseIdleConnections()
	round, err := peers.RoundTrip(newRequest(t, "https://"+server.Peers[0].Addr().String()+"/version"))
	if err != nil {
		t.Fatal(err)
	}
	round.Body.Close()
	if round.StatusCode != 200 {
		t.Errorf("peer port says %s", round.Status)
	}
}
