package node

import (
	"encoding/json"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Whatever a key below the operators' prefix says, it is an order that can be written again and means the same, or it is told to be none.
func FuzzOrder(f *testing.F) {
	for _, seed := range []string{
		`{"state":"drain","weight":5,"until":"2030-01-01T00:00:00Z","by":"ann","at":"2026-01-01T00:00:00Z"}`, `{"weight":257}`, `{"state":null}`, `{}`, `[]`, `"drain"`, ``,
		`{"state":"ready","by":7}`, `{"weight":1e9}`, `{"until":"0000-01-01T00:00:00Z","weight":0}`,
	} {
		f.Add("web/10.0.0.1:80", []byte(seed))
	}
	f.Add("a/b/c", []byte(`{"state":"maint"}`))
	f.Add("/", []byte(`{"state":"maint"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		seen := parseOrders([]*mvccpb.KeyValue{{Key: []byte(AdminServersPrefix + key), Value: value}})
		if len(seen.servers)+len(seen.rubbish) != 1 {
			t.Fatalf("%q: %+v", value, seen)
		}
		for service, servers := range seen.servers {
			for address, order := range servers {
				if service+"/"+address != key || service == "" || address == "" {
					t.Fatalf("key %q is of service %q, server %q", key, service, address)
				}
				text, err := json.Marshal(order)
				if err != nil {
					continue // a time that has no form
				}
				again, err := parseOrder(text)
				if err != nil && len(text) <= maxOrder || err == nil && !sayTheSame(again, order) {
					t.Fatalf("%s becomes %+v, %v", text, again, err)
				}
			}
		}
	})
}

// Whatever a key below the registrations' prefix says, it is a registration that can be written again and means the same, or it is told to be none.
func FuzzRegistered(f *testing.F) {
	for _, seed := range []string{
		`{"address":"10.0.1.7:8080","weight":1,"zone":"b","max_connections":0,"backup":false,"draining":false}`, `{"address":"[::1]:80"}`, `{"address":":80"}`, `{}`, `[]`, ``,
		`{"address":"10.0.1.7:8080","weight":-1}`, `{"address":"10.0.1.7:8080","max_connections":-1}`,
	} {
		f.Add("web/one", []byte(seed))
	}
	f.Add("web/a b", []byte(`{"address":"10.0.1.7:8080"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		seen := parseRegistered([]*mvccpb.KeyValue{{Key: []byte(RegistrationsPrefix + key), Value: value}})
		if len(seen.servers)+len(seen.rubbish) != 1 {
			t.Fatalf("%q: %+v", value, seen)
		}
		for _, servers := range seen.servers {
			for _, r := range servers {
				text, err := json.Marshal(r)
				if err != nil || !sameRegistration(text, text) || !sameRegistration(text, value) {
					t.Fatalf("%s becomes %s, %v", value, text, err)
				}
			}
		}
	})
}
