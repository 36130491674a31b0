package rule

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"tripod/proxy/web/message"
)

// Of what Authenticate returns:
var (
	// ErrCredentials: there are none, or wrong ones. The answer is 401 with Challenge.
	ErrCredentials = errors.New("wrong or no credentials")
	// ErrBusy: so many passwords are being compared that this one could not be in time. The answer is 503.
	ErrBusy = errors.New("too many passwords to compare")
)

const (
	// maxCredentials is the longest user name and password, encoded.
	maxCredentials = 1 << 10
	// maxCost is the greatest cost of a hash: more takes seconds for each password.
	maxCost = 14
	// waiters is how many comparisons may wait for their turn, and patience how long.
	waiters  = 256
	patience = 5 * time.Second
	// remembered is how many right passwords are kept.
	remembered = 4096
)

// Passwords compares passwords with bcrypt hashes, which is slow by intent, for all routes of a process. One that was right is
// remembered, as a digest over the user, the hash and the password with a key of this process, so that bcrypt's cost is
// paid once and a flood of wrong passwords keeps nobody out who was in before. What the document has no more is
// never asked for again.
type Passwords struct {
	turn     chan struct{}
	queue    chan struct{}
	macs     sync.Pool // of hash.Hash with the key
	patience time.Duration

	mu    sync.RWMutex
	right map[digest]struct{}
}

type digest [sha256.Size]byte

// NewPasswords returns Passwords that remember nothing yet.
func NewPasswords() *Passwords {
	comparisons := max(1, runtime.GOMAXPROCS(0)/2) // each takes a core for its time; the others are traffic's
	p := &Passwords{
		turn:     make(chan struct{}, comparisons),
		queue:    make(chan struct{}, comparisons+waiters),
		patience: patience,
		right:    make(map[digest]struct{}),
	}
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails
	p.macs.New = func() any { return hmac.New(sha256.New, key) }
	return p
}

// basicAuth knows who may come in (RFC 7617).
type basicAuth struct {
	passwords *Passwords
	challenge string
	names     []string // sorted
	hashes    []string // of names
}

func newBasicAuth(c *BasicAuthConfig, passwords *Passwords) *basicAuth {
	realm := c.Realm
	if realm == "" {
		realm = "Restricted"
	}
	if passwords == nil {
		passwords = NewPasswords()
	}
	a := &basicAuth{passwords: passwords, challenge: challenge(realm), names: slices.Sorted(maps.Keys(c.Users))}
	for _, name := range a.names {
		a.hashes = append(a.hashes, c.Users[name])
	}
	return a
}

// challenge has the realm as a quoted string in any case (RFC 9110 §11.5), and the charset in which clients encode names and
// passwords (RFC 7617 §2.1).
func challenge(realm string) string {
	b := appendString([]byte("Basic realm="), realm)
	return string(append(b, `, charset="UTF-8"`...))
}

// Challenge is the value of WWW-Authenticate in a 401 (RFC 9110 §11.6.1); empty if the route asks for no password.
func (r *Rules) Challenge() string {
	if r == nil || r.auth == nil {
		return ""
	}
	return r.auth.challenge
}

// Authenticate checks the value of Authorization, empty for none. It may take the time of a bcrypt comparison, and that of those
// before it. The error is ErrCredentials or ErrBusy.
func (r *Rules) Authenticate(authorization string) error {
	if r == nil || r.auth == nil {
		return nil
	}
	return r.auth.check(authorization)
}

func (a *basicAuth) check(authorization string) error {
	var buf [maxCredentials]byte
	user, password, ok := credentials(buf[:], authorization)
	if !ok {
		return ErrCredentials
	}
	i, known := slices.BinarySearch(a.names, stringOf(user))
	p := a.passwords
	mac := p.macs.Get().(hash.Hash)
	defer p.macs.Put(mac)
	if !known {
		// Some user's hash is compared with all the same, always the same one for this name, so that time does not tell which names there are.
		d := sum(mac, user, "", nil)
		i = int(binary.LittleEndian.Uint64(d[:]) % uint64(len(a.hashes)))
	}
	d := sum(mac, user, a.hashes[i], password)
	if known && p.knows(d) {
		return nil
	}
	if err := p.compare(a.hashes[i], password); err != nil {
		return err
	}
	if !known {
		return ErrCredentials
	}
	p.remember(d)
	return nil
}

// compare waits for its turn and compares.
func (p *Passwords) compare(hash string, password []byte) error {
	select {
	case p.queue <- struct{}{}:
		defer func() { <-p.queue }()
	default:
		return ErrBusy
	}
	select {
	case p.turn <- struct{}{}:
	default:
		timer := time.NewTimer(p.patience)
		defer timer.Stop()
		select {
		case p.turn <- struct{}{}:
		case <-timer.C:
			return ErrBusy
		}
	}
	defer func() { <-p.turn }()
	if bcrypt.CompareHashAndPassword([]byte(hash), password) != nil {
		return ErrCredentials
	}
	return nil
}

// knows tells whether a digest is that of a right password.
func (p *Passwords) knows(d digest) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, ok := p.right[d]
	return ok
}

// Remembered is how many right passwords are known.
func (p *Passwords) Remembered() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.right)
}

// remember keeps a digest, in place of any other one if there are too many.
func (p *Passwords) remember(d digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.right) >= remembered {
		for other := range p.right {
			delete(p.right, other)
			break
		}
	}
	p.right[d] = struct{}{}
}

// sum is the keyed digest of its parts, each with its length, so that none can pass for another.
func sum(mac hash.Hash, user []byte, hash string, password []byte) (d digest) {
	mac.Reset()
	var lengths [8]byte
	binary.LittleEndian.PutUint32(lengths[:], uint32(len(user)))
	binary.LittleEndian.PutUint32(lengths[4:], uint32(len(hash)))
	mac.Write(lengths[:])
	mac.Write(user)
	mac.Write([]byte(hash))
	mac.Write(password)
	mac.Sum(d[:0])
	return d
}

// credentials decodes the value of Authorization (RFC 7617 §2) to buf. Control characters are none's: bcrypt's
// keys end at a NUL, behind which anything would be as good.
func credentials(buf []byte, authorization string) (user, password []byte, ok bool) {
	scheme, encoded, ok := strings.Cut(authorization, " ")
	if !ok || !message.EqualFold(scheme, "basic") {
		return nil, nil, false
	}
	encoded = strings.Trim(encoded, " ")
	if len(encoded) > base64.StdEncoding.EncodedLen(len(buf)) || strings.ContainsAny(encoded, "\r\n") {
		return nil, nil, false
	}
	n, err := base64.StdEncoding.Strict().Decode(buf[:], []byte(encoded))
	if err != nil {
		return nil, nil, false
	}
	for _, c := range buf[:n] {
		if c < ' ' || c == 0x7f {
			return nil, nil, false
		}
	}
	colon := slices.Index(buf[:n], ':')
	if colon < 0 {
		return nil, nil, false
	}
	return buf[:colon], buf[colon+1 : n], true
}

func (c *BasicAuthConfig) check(f *faults) {
	if c.Realm != "" {
		if text := badValue(c.Realm); text != "" {
			f.add("basic_auth.realm", "%s", text)
		}
	}
	if len(c.Users) == 0 {
		f.add("basic_auth.users", "nobody could come in: name at least one user")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Users)) {
		at := "basic_auth.users." + name
		switch {
		case name == "" || strings.Contains(name, ":"):
			f.add(at, "a user name is not empty and has no colon (RFC 7617)")
		case !fits(name):
			f.add(at, "a user name has no control characters")
		default:
			if text := badHash(c.Users[name]); text != "" {
				f.add(at, "%s", text)
			}
		}
	}
}

// badHash says what is wrong with a hash. It never shows it: it may be a password.
func badHash(h string) string {
	const how = "; make one with: htpasswd -nbB USER PASSWORD"
	version := ""
	if parts := strings.SplitN(h, "$", 3); len(parts) == 3 && parts[0] == "" {
		version = parts[1]
	}
	switch version {
	case "2a", "2b", "2y":
	case "":
		return "is no bcrypt hash; a password does not stand in the document" + how
	default:
		return "is a hash of another kind ($" + shorten(version) + "$) than bcrypt" + how
	}
	cost, err := bcrypt.Cost([]byte(h))
	switch {
	case err != nil || len(h) != 60 || strings.Trim(h[7:], hashAlphabet) != "":
		return "is no whole bcrypt hash: it has 60 characters, as in $2y$10$…" + how
	case cost > maxCost:
		return "has the cost " + strconv.Itoa(cost) + ": every password would take seconds; use 10 to " + strconv.Itoa(maxCost)
	}
	return ""
}

// hashAlphabet is that of bcrypt's own base64.
const hashAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
