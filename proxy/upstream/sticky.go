package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	tagLength = 16 // of a server's tag, in characters
	macLength = 22
)

// Sticky is how a service keeps clients on their servers: a cookie that names the server by a tag, which tells nothing about its address, for it is a
// keyed hash, and the key is known to the nodes only. With a time to live the cookie also has its end, and both are signed.
type Sticky struct {
	config  StickyConfig
	service string
	key     []byte
}

func newSticky(c *StickyConfig, service string, key []byte) *Sticky {
	if c == nil {
		return nil
	}
	return &Sticky{config: *c, service: service, key: key}
}

// Name is the cookie's.
func (k *Sticky) Name() string { return k.config.Cookie }

// Read returns the tag of the server that a cookie's value names, empty if the value is none of ours or has expired, and whether the client is to get the
// cookie anew, although it stays on its server: half of its time is over.
func (k *Sticky) Read(value string, now time.Time) (tag string, renew bool) {
	if k.config.TTL == 0 {
		if len(value) != tagLength {
			return "", false
		}
		return value, false
	}
	if len(value) > 64 || len(value) < tagLength+2+macLength || value[tagLength] != '.' {
		return "", false
	}
	signed, mac := value[:len(value)-macLength-1], value[len(value)-macLength:]
	seconds, err := strconv.ParseInt(signed[min(tagLength+1, len(signed)):], 36, 64)
	if err != nil || value[len(signed)] != '.' || subtle.ConstantTimeCompare([]byte(k.sign(signed)), []byte(mac)) != 1 {
		return "", false
	}
	left := time.Unix(seconds, 0).Sub(now)
	if left <= 0 {
		return "", false
	}
	return value[:tagLength], left < k.config.TTL/2
}

// Value is the cookie's value that keeps a client on a server.
func (k *Sticky) Value(s *Server, now time.Time) string {
	if k.config.TTL == 0 {
		return s.tag
	}
	signed := s.tag + "." + strconv.FormatInt(now.Add(k.config.TTL).Unix()+1, 36)
	return signed + "." + k.sign(signed)
}

// Cookie is the whole cookie, for a client that came over TLS or not.
func (k *Sticky) Cookie(s *Server, secure bool, now time.Time) *http.Cookie {
	c := &http.Cookie{Name: k.config.Cookie, Value: k.Value(s, now), Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
	switch strings.ToLower(k.config.SameSite) {
	case "strict":
		c.SameSite = http.SameSiteStrictMode
	case "none":
		c.SameSite = http.SameSiteNoneMode
	}
	if k.config.Secure != nil {
		c.Secure = *k.config.Secure
	}
	if k.config.HTTPOnly != nil {
		c.HttpOnly = *k.config.HTTPOnly
	}
	if k.config.TTL > 0 {
		c.MaxAge = max(1, int(k.config.TTL.Seconds()))
	}
	return c
}

// tagOf is the tag that names a server.
func (k *Sticky) tagOf(address string) string {
	return k.mac(k.service + "|" + address)[:tagLength]
}

// sign is the signature of a tag with its end. No service's name begins as its text does.
func (k *Sticky) sign(text string) string { return k.mac("|" + k.service + "|" + text)[:macLength] }

func (k *Sticky) mac(text string) string {
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
