package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/node/config"
	"tripod/proxy/upstream"
)

const (
	// saveEvery bounds how often what is known of servers is written to the disk.
	saveEvery = time.Second
	// maxTold bounds the keys that are named at a time in a log or a status.
	maxTold = 20
)

// servers is what the store knows of servers beside the document: the words of operators, and the servers that registered
// themselves. It is given to the proxy, and kept on disk, from where it is served before the cluster is there.
type servers struct {
	node       *Node
	client     *clientv3.Client
	orders     atomic.Pointer[orders]
	registered atomic.Pointer[registered]
	dirty      chan struct{}

	stop context.CancelFunc
	done sync.WaitGroup
}

func newServers(n *Node) *servers {
	s := &servers{node: n, dirty: make(chan struct{}, 1)}
	s.orders.Store(&orders{})
	s.registered.Store(&registered{})
	return s
}

// serversCache is the form of the file on disk.
type serversCache struct {
	Orders     map[string]map[string]upstream.Order   `json:"orders"`
	Registered map[string]map[string]api.Registration `json:"registered"`
}

func (s *servers) cacheFile() string {
	return filepath.Join(s.node.claim.folder, "cache", "servers.json")
}

// openCached takes what was known when this node ran last, before the document of that time is served.
func (s *servers) openCached() {
	text, err := os.ReadFile(s.cacheFile())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var c serversCache
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		s.node.log.Warn("what operators said about servers is not usable on disk; it is read from the cluster", "file", s.cacheFile(), "error", err)
		return
	}
	s.takeOrders(&orders{servers: c.Orders})
	s.takeRegistered(&registered{servers: c.Registered})
}

// open takes what the store has, and follows it until close. When it returns, the node knows what was so when it was called.
func (s *servers) open(ctx context.Context, client *clientv3.Client) error {
	s.client = client
	for _, all := range []struct {
		prefix string
		see    func([]*mvccpb.KeyValue)
		most   int64
	}{{AdminServersPrefix, s.seeOrders, maxOrders}, {RegistrationsPrefix, s.seeRegistered, maxRegistrations}} {
		// Of a majority: the node's own copy may be old still, and a server that is drained must get nothing.
		reply, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return client.Get(ctx, all.prefix, clientv3.WithPrefix(), clientv3.WithLimit(all.most+1))
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", all.prefix, err)
		}
		all.see(reply.Kvs)
	}
	life, stop := context.WithCancel(s.node.life)
	s.stop = stop
	s.done.Go(func() {
		follow(life, client, AdminServersPrefix, s.seeOrders, clientv3.WithLimit(maxOrders+1))
	})
	s.done.Go(func() {
		follow(life, client, RegistrationsPrefix, s.seeRegistered, clientv3.WithLimit(maxRegistrations+1))
	})
	s.done.Go(func() { s.save(life) })
	return nil
}

func (s *servers) close(context.Context) error {
	s.stop()
	s.done.Wait()
	return nil
}

// changed makes the disk follow.
func (s *servers) changed() {
	select {
	case s.dirty <- struct{}{}:
	default: // a write is due anyway, and takes the newest
	}
}

// save keeps what is known on disk, for a start without the cluster. A failure costs that, and nothing now.
func (s *servers) save(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-s.dirty:
				s.write()
			default:
			}
			return
		case <-s.dirty:
			s.write()
		}
		pause(ctx, saveEvery)
	}
}

func (s *servers) write() {
	text, err := json.Marshal(serversCache{Orders: s.orders.Load().servers, Registered: s.registered.Load().servers})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.cacheFile()), 0o700)
	}
	if err == nil {
		err = replaceFile(s.cacheFile(), text)
	}
	if err != nil {
		s.node.log.Warn("what operators said about servers is not kept on disk", "error", err)
	}
}

// splitServerKey takes a key below a prefix apart, as <service>/<last>: a service's name may have slashes.
func splitServerKey(rest string) (service, last string, err error) {
	at := strings.LastIndexByte(rest, '/')
	if at <= 0 || at == len(rest)-1 {
		return "", "", errors.New("the key does not end in <service>/<server>")
	}
	return rest[:at], rest[at+1:], nil
}

// tellRubbish logs keys that say nothing, once each.
func (s *servers) tellRubbish(message, prefix string, before, now map[string]string) {
	told := 0
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if before[name] == now[name] {
			continue
		}
		if told++; told > maxTold {
			return
		}
		s.node.log.Warn(message, "key", prefix+shorten(name), "error", now[name])
	}
}

// knownServers are the servers of each service, as this node's proxy has them or as they are registered.
func (s *servers) knownServers() map[string][]upstream.ServerStatus {
	known := map[string][]upstream.ServerStatus{}
	for _, service := range s.node.proxy.Services() {
		known[service.Name] = service.Servers
	}
	for service, pending := range s.node.proxy.Pending() {
		for _, r := range pending {
			known[service] = append(known[service], upstream.ServerStatus{Address: r.Address, Registration: r.ID})
		}
	}
	return known
}

// knownServer refuses what is no server of the document, no registered one, and none that operators have said something about.
func (s *servers) knownServer(service, address string) error {
	known := s.knownServers()
	if _, ordered := s.orders.Load().servers[service][address]; ordered {
		return nil
	}
	list, ok := known[service]
	if !ok {
		names := slices.Sorted(maps.Keys(known))
		return api.Fail(http.StatusNotFound, fmt.Errorf("no service is named %q%s", shorten(service), meant(service, names, "there are no services")))
	}
	var addresses, behind []string
	for _, server := range list {
		if server.Address == address {
			return nil
		}
		if server.Name == address {
			behind = append(behind, server.Address)
		}
		addresses = append(addresses, server.Address)
	}
	if len(behind) > 0 {
		return api.Fail(http.StatusNotFound, fmt.Errorf("service %s: %s stands for %s: name one of these", service, shorten(address), some(behind)))
	}
	return api.Fail(http.StatusNotFound, fmt.Errorf("service %s has no server %q%s", service, shorten(address), meant(address, addresses, "it has no servers")))
}

// meant is the end of a message about a word that is none of the words.
func meant(word string, words []string, none string) string {
	if hint := config.DidYouMean(word, words); hint != "" {
		return hint
	}
	if len(words) == 0 {
		return "; " + none
	}
	return "; there is " + some(words)
}

// some lists words for a person.
func some(words []string) string {
	const most = 10
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}

// same tells whether two things that were read say the same.
func same[T any](a, b T) bool { return reflect.DeepEqual(a, b) }
