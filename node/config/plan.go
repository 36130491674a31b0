package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"tripod/proxy/web/rule"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[rule.Size]()
	rateType     = reflect.TypeFor[rule.Rate]()
)

// plan is what the tags of a struct type say.
type plan struct {
	fields []field
	byKey  map[string]int
	keys   []string
	// short is the field for which a bare string stands, or -1.
	short int
	// needed are the fields that are required.
	needed []int
}

// field is one key of a struct.
type field struct {
	// index leads to the field, through the structs that are inline.
	index    []int
	key      string
	typ      reflect.Type
	doc      string
	enum     []string
	min, max *int64
	required bool
	// numbers says that a number is as good as text.
	numbers bool
	// keys is what the keys of a map match, for the schema.
	keys string
	// def is the default as written in the tag, fill its value; fill is not valid without one.
	def  string
	fill reflect.Value
}

// plans holds the plans of one walk. A wrong tag is a mistake in the program and panics; the tests walk all types.
type plans map[reflect.Type]*plan

func (ps plans) of(t reflect.Type) *plan {
	if p := ps[t]; p != nil {
		return p
	}
	p := &plan{byKey: map[string]int{}, short: -1}
	ps[t] = p
	p.add(t, nil)
	return p
}

// add adds the fields of a struct that is found by index.
func (p *plan) add(t reflect.Type, index []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		here := append(index[:len(index):len(index)], i)
		key, option, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if option == "inline" {
			p.add(sf.Type, here)
			continue
		}
		if !sf.IsExported() || key == "" || key == "-" {
			continue
		}
		f := field{
			index:    here,
			key:      key,
			typ:      sf.Type,
			doc:      sf.Tag.Get("doc"),
			required: sf.Tag.Get("required") == "true",
			keys:     sf.Tag.Get("keys"),
			numbers:  sf.Tag.Get("numbers") == "true",
			def:      sf.Tag.Get("default"),
			min:      limit(sf, "min"),
			max:      limit(sf, "max"),
		}
		if words := sf.Tag.Get("enum"); words != "" {
			f.enum = strings.Split(words, ",")
		}
		if f.def != "" && f.typ.Kind() != reflect.Pointer {
			f.fill = defaultValue(sf, f.def)
		}
		if sf.Tag.Get("short") == "true" {
			p.short = len(p.fields)
		}
		if f.required {
			p.needed = append(p.needed, len(p.fields))
		}
		p.byKey[key] = len(p.fields)
		p.keys = append(p.keys, key)
		p.fields = append(p.fields, f)
	}
}

func limit(sf reflect.StructField, tag string) *int64 {
	text, ok := sf.Tag.Lookup(tag)
	if !ok {
		return nil
	}
	if sf.Type == durationType {
		d, err := time.ParseDuration(text)
		if err != nil {
			panic(fmt.Sprintf("config: tag %s of field %s: %v", tag, sf.Name, err))
		}
		return (*int64)(&d)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("config: tag %s of field %s: %v", tag, sf.Name, err))
	}
	return &n
}

func defaultValue(sf reflect.StructField, text string) reflect.Value {
	v := reflect.New(sf.Type).Elem()
	var err error
	switch {
	case sf.Type == durationType:
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.CanInt():
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
	case v.Kind() == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	default:
		err = fmt.Errorf("no default for %s", sf.Type)
	}
	if err != nil {
		panic(fmt.Sprintf("config: tag default of field %s: %v", sf.Name, err))
	}
	return v
}
