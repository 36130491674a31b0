package config

import (
	"encoding/json"
	"reflect"

	"tripod/proxy/web/rate"
	"tripod/proxy/web/rule"
)

// durationPattern is what time.ParseDuration takes, without a sign.
const durationPattern = `^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`

// Schema is the JSON Schema (draft 7, which the YAML language server knows best) of the document, made from the struct
// tags. Editors complete and check with it; what it cannot say, Parse checks.
func Schema() []byte {
	s := schemer{plans{}}
	root := s.structure(reflect.TypeFor[Document]())
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "tripod document"
	root["description"] = "What a tripod cluster serves."
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("config: " + err.Error()) // maps of strings do not fail
	}
	return append(out, '\n')
}

type schemer struct{ plans plans }

// structure is the schema of a mapping with known keys.
func (s schemer) structure(t reflect.Type) map[string]any {
	p := s.plans.of(t)
	properties := map[string]any{}
	var required []string
	for i := range p.fields {
		f := &p.fields[i]
		properties[f.key] = s.field(f)
		if f.required {
			required = append(required, f.key)
		}
	}
	mapping := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required != nil {
		mapping["required"] = required
	}
	if p.short < 0 {
		return mapping
	}
	short := s.field(&p.fields[p.short])
	return map[string]any{"oneOf": []any{short, mapping}}
}

// field is the schema of a key's value, with what its tags say.
func (s schemer) field(f *field) map[string]any {
	out := s.value(f.typ)
	if f.doc != "" {
		out["description"] = f.doc
	}
	switch {
	case f.numbers:
		out["items"] = map[string]any{"type": []string{"string", "integer"}}
	case f.enum == nil:
	case f.typ.Kind() == reflect.Slice:
		out["items"] = map[string]any{"type": "string", "enum": f.enum}
	default:
		out["enum"] = f.enum
	}
	if f.keys != "" {
		out["propertyNames"] = map[string]any{"pattern": f.keys}
	}
	if f.def != "" {
		var def any = f.def
		if t := deref(f.typ); t != durationType && t.Kind() != reflect.String {
			def = json.RawMessage(f.def)
		}
		out["default"] = def
	}
	if f.typ != durationType {
		if f.min != nil {
			out["minimum"] = *f.min
		}
		if f.max != nil {
			out["maximum"] = *f.max
		}
	}
	if f.required {
		switch f.typ.Kind() {
		case reflect.String:
			out["minLength"] = 1
		case reflect.Slice:
			out["type"], out["minItems"] = "array", 1
		case reflect.Map:
			out["type"], out["minProperties"] = "object", 1
		}
	}
	return out
}

// value is the schema of a type.
func (s schemer) value(t reflect.Type) map[string]any {
	t = deref(t)
	switch {
	case t == durationType:
		return map[string]any{"type": "string", "pattern": durationPattern}
	case t == sizeType:
		return map[string]any{"type": []string{"string", "integer"}, "pattern": rule.SizePattern, "minimum": 0}
	case t == rateType:
		return map[string]any{"type": "string", "pattern": rate.Pattern}
	case t.Kind() == reflect.Struct:
		return s.structure(t)
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": s.value(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{
			"type":                 []string{"object", "null"},
			"propertyNames":        map[string]any{"pattern": nameRule},
			"additionalProperties": s.value(t.Elem()),
		}
	case t.Kind() == reflect.String:
		return map[string]any{"type": "string"}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	}
	return map[string]any{"type": "integer"}
}

func deref(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}
