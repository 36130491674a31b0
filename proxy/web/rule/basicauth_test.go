package rule

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func hashOf(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func basic(credentials string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

// guarded makes rules that ask for a password.
func guarded(t testing.TB, p *Passwords, users map[string]string) *Rules {
	t.Helper()
	c := Config{BasicAuth: &BasicAuthConfig{Realm: `The "Staff"`, Users: users}}
	if err := c.Validate("/", ToService); err != nil {
		t.Fatal(err)
	}
	r, err := Compile("/", c, Common{}, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuthenticate(t *testing.T) {
	// The same hash in the three ways in which bcrypt's present version is written.
	h := hashOf(t, "secret")
	r := guarded(t, nil, map[string]string{
		"alice": "$2y" + h[3:], "bob": "$2b" + h[3:], "carol": "$2a" + h[3:], "dave": hashOf(t, "pass:word"), "ü": hashOf(t, "pä"), "eve": hashOf(t, ""),
	})
	if got, want := r.Challenge(), `Basic realm="The \"Staff\"", charset="UTF-8"`; got != want {
		t.Errorf("challenge %s, want %s", got, want)
	}
	long := strings.Repeat("x", maxCredentials)
	for range 2 { // from bcrypt, and remembered
		for authorization, want := range map[string]error{
			basic("alice:secret"): nil, basic("bob:secret"): nil, basic("carol:secret"): nil, basic("dave:pass:word"): nil, basic("ü:pä"): nil, basic("eve:"): nil,
			"bAsIC  " + basic("alice:secret")[6:] + " ": nil,
			"": ErrCredentials, "Basic": ErrCredentials, "Basic ": ErrCredentials, basic(""): ErrCredentials, basic("alice"): ErrCredentials, basic(":"): ErrCredentials,
			basic("alice:Secret"): ErrCredentials, basic("alice:"): ErrCredentials, basic("alice:secret "): ErrCredentials, basic("Alice:secret"): ErrCredentials,
			basic("mallory:secret"): ErrCredentials, basic("dave:pass"): ErrCredentials, basic(":secret"): ErrCredentials,
			basic("alice:secret\x00secret"):                  ErrCredentials, // the same key to bcrypt, which goes round behind a NUL
			basic("alice:secret\n"):                          ErrCredentials,
			"Bearer " + basic("alice:secret")[6:]:            ErrCredentials,
			"Basic!" + basic("alice:secret")[6:]:             ErrCredentials,
			strings.TrimRight(basic("alice:secret1"), "="):   ErrCredentials,
			"Basic " + "YWxpY2U6c2VjcmV0\nxx":                ErrCredentials,
			basic("alice:" + long):                           ErrCredentials,
			"Basic " + strings.Repeat("A", 4*maxCredentials): ErrCredentials,
		} {
			if err := r.Authenticate(authorization); !errors.Is(err, want) {
				t.Errorf("%.60q: got %v, want %v", authorization, err, want)
			}
		}
	}
}

// TestWhatIsRemembered looks at the memory: right passwords only, bounded, and of no use for another hash.
func TestWhatIsRemembered(t *testing.T) {
	p := NewPasswords()
	first, second := hashOf(t, "secret"), hashOf(t, "secret")
	r := guarded(t, p, map[string]string{"alice": first})
	for range 3 {
		r.Authenticate(basic("alice:secret"))
		r.Authenticate(basic("alice:wrong"))
		r.Authenticate(basic("nobody:secret"))
	}
	if len(p.right) != 1 {
		t.Errorf("%d remembered, want 1", len(p.right))
	}
	if err := guarded(t, p, map[string]string{"alice": second, "bob": second}).Authenticate(basic("alice:secret")); err != nil || len(p.right) != 2 {
		t.Errorf("got %v; %d remembered, want 2", err, len(p.right))
	}
	for i := range 2 * remembered {
		p.remember(digest{byte(i), byte(i >> 8), 1})
	}
	if len(p.right) != remembered {
		t.Errorf("%d remembered, want %d", len(p.right), remembered)
	}
}

// TestAFloodKeepsNobodyOutWhoWasIn fills the queue: who was in is let in, who was not is told that we are busy.
func TestAFloodKeepsNobodyOutWhoWasIn(t *testing.T) {
	p := NewPasswords()
	p.patience = time.Millisecond
	r := guarded(t, p, map[string]string{"alice": hashOf(t, "secret")})
	if err := r.Authenticate(basic("alice:secret")); err != nil {
		t.Fatal(err)
	}
	for range cap(p.turn) { // somebody compares, without end
		p.turn <- struct{}{}
	}
	if err := r.Authenticate(basic("alice:wrong")); !errors.Is(err, ErrBusy) {
		t.Errorf("in the queue: got %v", err)
	}
	for range cap(p.queue) {
		p.queue <- struct{}{}
	}
	p.patience = time.Hour
	for range 1000 {
		if err := r.Authenticate(basic("mallory:guess")); !errors.Is(err, ErrBusy) {
			t.Fatalf("beyond the queue: got %v", err)
		}
	}
	if err := r.Authenticate(basic("alice:secret")); err != nil {
		t.Errorf("remembered: got %v", err)
	}
}

func TestAuthenticateTogether(t *testing.T) {
	r := guarded(t, nil, map[string]string{"alice": hashOf(t, "secret")})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 4 {
				if err := r.Authenticate(basic("alice:secret")); err != nil {
					t.Error(err)
				}
				if err := r.Authenticate(basic(fmt.Sprintf("alice:%d-%d", i, j))); !errors.Is(err, ErrCredentials) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestHashes(t *testing.T) {
	h := hashOf(t, "secret")
	for _, bad := range []string{"", "secret", "$2y$", "$2x" + h[3:], "$2" + h[3:], h[:59], h + "x", h[:59] + "!", "$1$abc$def", "$argon2id$v=19", "{SHA}xyz", "$2y$04$DUCtgqP2/kKFKcQXMPIV6.\n/CQEBMX0qRCcX7/FSuF4gdbnuMeswi", "$2y$31" + h[6:]} {
		if text := badHash(bad); text == "" || bad != "" && len(bad) < 50 && strings.Contains(text, bad) && bad[0] != '$' {
			t.Errorf("%q: %q", bad, text)
		}
	}
	if text := badHash(h); text != "" {
		t.Error(text)
	}
}

func FuzzCredentials(f *testing.F) {
	for _, s := range []string{"", "Basic", basic("a:b"), basic("a"), basic(":"), "basic \r\n", "Basic ====", basic("a:\x00")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var buf [maxCredentials]byte
		user, password, ok := credentials(buf[:], s)
		if !ok {
			return
		}
		again, p, _ := credentials(buf[:], basic(string(user)+":"+string(password)))
		if string(again) != string(user) || string(p) != string(password) || strings.ContainsAny(string(user), ":\x00\n") {
			t.Fatalf("%q: %q, %q", s, user, password)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	r := guarded(b, nil, map[string]string{"alice": hashOf(b, "secret")})
	authorization := basic("alice:secret")
	for b.Loop() {
		if err := r.Authenticate(authorization); err != nil {
			b.Fatal(err)
		}
	}
}
