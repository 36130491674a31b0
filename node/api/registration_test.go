package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// What comes by the plain call is refused with one line, or is a registration that a key can have.
func FuzzReadRegistration(f *testing.F) {
	f.Add("web", "one", "10s", []byte(`{"address":"10.0.1.7:8080","weight":1,"zone":"b","max_connections":0,"backup":false,"draining":false}`))
	f.Add("web", "one", "", []byte(`{"address":"[2001:db8::7]:8080"} {}`))
	f.Add("web", "..", "1ms", []byte(`{"adress":"10.0.1.7:8080"}`))
	f.Add("a\nb", "one", "1h1s", []byte(`hello`))
	f.Add("", "", "-1s", []byte(``))
	f.Fuzz(func(t *testing.T, service, id, ttl string, body []byte) {
		request, err := readRegistration(service, id, url.Values{"ttl": {ttl}}, bytes.NewReader(body))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %q", err)
			}
			return
		}
		if request.TTL < MinTTL || request.TTL > MaxTTL || CheckRegistrationName(request.Service, request.ID) != nil || strings.Contains(request.ID, "/") {
			t.Fatalf("%+v", request)
		}
		text, err := json.Marshal(request.Registration)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRegistration(text); err != nil && len(text) <= MaxRegistration {
			t.Fatalf("%s: %v", text, err)
		}
	})
}
