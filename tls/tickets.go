package tls

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

const (
	ticketKeys   = 3              // kept; sessions of the oldest end after 36 hours
	ticketRotate = 12 * time.Hour // age at which the newest gets a successor
	// ticketLead is the age from which a key is used for new sessions: until then it only opens those of others,
	// so that no node gets a session under a key that it has not heard of.
	ticketLead = time.Minute
)

// ticketKey encrypts session tickets (RFC 5077 §4, RFC 8446 §4.6.1).
type ticketKey struct {
	Key     [32]byte  `json:"-"`
	Created time.Time `json:"created"`
	Bytes   []byte    `json:"key"`
}

// tickets are the shared keys, the newest first.
type tickets struct {
	Keys []ticketKey `json:"keys"`
}

func openTickets(sealer *Sealer, item Item) (tickets, error) {
	plain, err := sealer.Open(item.Key, item.Value)
	if err != nil {
		return tickets{}, err
	}
	var opened tickets
	if err := json.Unmarshal(plain, &opened); err != nil {
		return tickets{}, fmt.Errorf("decode %s: %w", item.Key, err)
	}
	if len(opened.Keys) == 0 || len(opened.Keys) > 2*ticketKeys {
		return tickets{}, fmt.Errorf("decode %s: %d keys", item.Key, len(opened.Keys))
	}
	for i := range opened.Keys {
		key := &opened.Keys[i]
		if len(key.Bytes) != len(key.Key) {
			return tickets{}, fmt.Errorf("decode %s: key of %d bytes", item.Key, len(key.Bytes))
		}
		copy(key.Key[:], key.Bytes)
	}
	return opened, nil
}

// due tells whether the newest key needs a successor. A time far ahead was written by a wrong clock.
func (t tickets) due(now time.Time) bool {
	if len(t.Keys) == 0 {
		return true
	}
	age := now.Sub(t.Keys[0].Created)
	return age >= ticketRotate || age < -ticketRotate
}

// next returns the keys with a new one in front, sealed.
func (t tickets) next(sealer *Sealer, now time.Time) (Item, error) {
	key := ticketKey{Created: now.UTC(), Bytes: make([]byte, 32)}
	rand.Read(key.Bytes)
	keys := append([]ticketKey{key}, t.Keys[:min(len(t.Keys), ticketKeys-1)]...)
	plain, err := json.Marshal(tickets{Keys: keys})
	if err != nil {
		return Item{}, fmt.Errorf("encode %s: %w", KeyTickets, err)
	}
	return Item{Key: KeyTickets, Value: sealer.Seal(KeyTickets, plain)}, nil
}

// order returns the keys as crypto/tls takes them: that for new sessions first.
func (t tickets) order(now time.Time) [][32]byte {
	first := 0
	for i, key := range t.Keys {
		if age := now.Sub(key.Created); age >= ticketLead || age < -ticketRotate {
			first = i
			break
		}
	}
	ordered := make([][32]byte, 0, len(t.Keys))
	ordered = append(ordered, t.Keys[first].Key)
	for i, key := range t.Keys {
		if i != first {
			ordered = append(ordered, key.Key)
		}
	}
	return ordered
}
