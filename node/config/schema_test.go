package config

import (
	"encoding/json"
	"reflect"
	"regexp"
	"testing"
	"time"

	"tripod/proxy/web/rule"
)

// dig follows keys into decoded JSON; a number is an index.
func dig(t *testing.T, v any, keys ...any) any {
	t.Helper()
	for _, key := range keys {
		switch in := v.(type) {
		case map[string]any:
			v = in[key.(string)]
		case []any:
			v = in[key.(int)]
		default:
			t.Fatalf("nothing at %v of %v", key, keys)
		}
	}
	return v
}

func TestSchemaSaysWhatTheTagsSay(t *testing.T) {
	var schema any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	service := []any{"properties", "services", "additionalProperties"}
	route := []any{"properties", "routes", "items"}
	server := append(service[:3:3], "properties", "servers", "items")
	health := append(service[:3:3], "properties", "health")
	for _, c := range []struct {
		at   []any
		want any
	}{
		{[]any{"$schema"}, "http://json-schema.org/draft-07/schema#"},
		{[]any{"additionalProperties"}, false},
		{[]any{"properties", "access_log", "enum"}, []any{"on", "off"}},
		{[]any{"properties", "access_log", "default"}, "on"},
		{[]any{"properties", "vips", "items", "oneOf", 0, "type"}, "string"},
		{[]any{"properties", "vips", "items", "oneOf", 1, "required"}, []any{"address"}},
		{[]any{"properties", "vips", "type"}, []any{"array", "null"}},
		{[]any{"properties", "listeners", "propertyNames", "pattern"}, nameRule},
		{append(service[:3:3], "required"), nil},
		{append(service[:3:3], "additionalProperties"), false},
		{append(server[:6:6], "oneOf", 1, "properties", "weight", "maximum"), 256.0},
		{append(server[:6:6], "oneOf", 1, "properties", "weight", "default"), 1.0},
		{append(server[:6:6], "oneOf", 1, "properties", "backup", "type"), "boolean"},
		{append(health[:5:5], "properties", "interval", "pattern"), durationPattern},
		{append(health[:5:5], "properties", "interval", "default"), "2s"},
		{append(service[:3:3], "properties", "max_body", "pattern"), rule.SizePattern},
		{append(service[:3:3], "properties", "timeouts", "properties", "connect", "default"), "5s"},
		{append(service[:3:3], "properties", "strip_prefix"), nil},
		{append(route[:3:3], "properties", "strip_prefix", "type"), "boolean"},
		{append(route[:3:3], "properties", "compress", "items", "enum"), []any{"zstd", "br", "gzip"}},
		{append(route[:3:3], "properties", "compress", "enum"), nil},
		{append(route[:3:3], "properties", "error_pages", "propertyNames", "pattern"), "^[45]([0-9][0-9]|xx)$"},
		{append(route[:3:3], "properties", "error_pages", "additionalProperties", "type"), "string"},
		{append(route[:3:3], "properties", "basic_auth", "properties", "users", "minProperties"), 1.0},
		{append(route[:3:3], "properties", "basic_auth", "required"), []any{"users"}},
	} {
		if got := dig(t, schema, c.at...); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.at, got, c.want)
		}
	}
}

// TestEveryKeyIsDescribed walks all types of the document, which also proves that their tags can be read.
func TestEveryKeyIsDescribed(t *testing.T) {
	ps := plans{}
	var walk func(t reflect.Type)
	seen := 0
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(typ.Elem())
		case reflect.Struct:
			for _, f := range ps.of(typ).fields {
				seen++
				if f.doc == "" {
					t.Errorf("%s.%s has no doc tag", typ, f.key)
				}
				walk(f.typ)
			}
		}
	}
	walk(reflect.TypeFor[Document]())
	if seen < 30 {
		t.Errorf("only %d keys seen", seen)
	}
}

func TestDurationPatternIsWhatParseTakes(t *testing.T) {
	pattern := regexp.MustCompile(durationPattern)
	for _, text := range []string{"2s", "500ms", "1h30m", "1.5s", ".5s", "1.s", "0", "10us", "10µs", "3ns", "", "5", "s", "5 s", "5d", "-5s", "+5s", "1s2"} {
		d, err := time.ParseDuration(text)
		want := err == nil && d >= 0 && text[0] != '+'
		if got := pattern.MatchString(text); got != want {
			t.Errorf("%q: pattern says %t, parser %t", text, got, want)
		}
	}
}

func TestSizePatternIsWhatParseTakes(t *testing.T) {
	pattern := regexp.MustCompile(rule.SizePattern)
	for _, text := range []string{"0", "1", "10MiB", "10 MiB", "1.5GiB", "1.5", "1.5B", "1B", "1 B", "10  MiB", "10m", "MiB", "", "-1", "+1", "1e3", ".5kB", "1.kB", "10MIB", "10MiB "} {
		_, err := rule.ParseSize(text)
		if got := pattern.MatchString(text); got != (err == nil) {
			t.Errorf("%q: pattern says %t, parser %v", text, got, err)
		}
	}
}
