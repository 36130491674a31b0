package config

import (
	"reflect"
	"strconv"
	"strings"
)

// maxExpanded bounds the values that aliases and merge keys may multiply: nine aliases of nine aliases of … are a short text.
const maxExpanded = 100_000

// walker decodes the tree and reports what does not fit.
type walker struct {
	findings *findings
	tree     *tree
	plans    plans
	// aliased is the number of aliases that the walk is in, expanded the values visited there.
	aliased, expanded int
	stopped           bool
}

// path leads from the root to a value. It is spelled out only when there is a problem.
type path struct {
	up    *path
	key   string
	index int // used if key is ""
}

func (p *path) String() string {
	if p == nil {
		return ""
	}
	up := p.up.String()
	switch {
	case p.key == "":
		return up + "[" + strconv.Itoa(p.index) + "]"
	case up == "":
		return p.key
	}
	return up + "." + p.key
}

// document decodes the root into d.
func (w *walker) document(d *Document) {
	v := reflect.ValueOf(d).Elem()
	root := w.tree.root.resolve()
	if root == nil || root.isNull() {
		root = &node{kind: mappingNode}
	}
	if root.kind != mappingNode {
		w.findings.addf(root, "", "a document is a mapping with the keys %s; found %s",
			strings.Join(w.plans.of(v.Type()).keys, ", "), root.describe())
		return
	}
	w.value(root, root, nil, nil, v)
}

func (w *walker) problem(n *node, p *path, format string, args ...any) {
	if w.findings.full() {
		return
	}
	w.findings.addf(n, p.String(), format, args...)
}

// value decodes n into v. The place is where to report that n is missing something: its key, if it has one.
func (w *walker) value(n, place *node, p *path, f *field, v reflect.Value) {
	if w.stopped || w.findings.full() {
		return
	}
	if n.kind == aliasNode {
		w.aliased++
		defer func() { w.aliased-- }()
		n = n.resolve()
	}
	if !w.count(n, p) {
		return
	}
	switch {
	case v.Type() == durationType:
		w.duration(n, p, f, v)
	case v.Type() == sizeType:
		w.size(n, p, v)
	case v.Type() == rateType:
		w.rate(n, p, f, v)
	case v.Kind() == reflect.Pointer:
		w.pointer(n, place, p, f, v)
	case v.Kind() == reflect.Struct:
		w.structure(n, place, p, v)
	case v.Kind() == reflect.Map:
		w.dictionary(n, p, f, v)
	case v.Kind() == reflect.Slice:
		w.list(n, p, f, v)
	case v.Kind() == reflect.String:
		w.text(n, p, f, v)
	case v.Kind() == reflect.Bool:
		w.boolean(n, p, v)
	case v.CanInt():
		w.integer(n, p, f, v)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

// count counts a value that an alias repeats.
func (w *walker) count(n *node, p *path) bool {
	if w.aliased == 0 {
		return true
	}
	if w.expanded++; w.expanded > maxExpanded {
		w.problem(n, p, "aliases expand to more than %d values; write them out, or use fewer", maxExpanded)
		w.stopped = true
	}
	return !w.stopped
}

func (w *walker) pointer(n, place *node, p *path, f *field, v reflect.Value) {
	if n.isNull() {
		// Silence could mean either of the two, and the difference is a service with health checks or without.
		hint := ""
		if v.Type().Elem().Kind() == reflect.Struct && len(w.plans.of(v.Type().Elem()).needed) == 0 {
			hint = ", or write {} for the defaults"
		}
		w.problem(n, p, "has no value; remove the key%s", hint)
		return
	}
	to := reflect.New(v.Type().Elem())
	w.value(n, place, p, f, to.Elem())
	v.Set(to)
}

// structure decodes a mapping, or the short form of one, into a struct.
func (w *walker) structure(n, place *node, p *path, v reflect.Value) {
	plan := w.plans.of(v.Type())
	for i := range plan.fields {
		if f := &plan.fields[i]; f.fill.IsValid() {
			v.FieldByIndex(f.index).Set(f.fill)
		}
	}
	if plan.short >= 0 && n.isText() {
		f := &plan.fields[plan.short]
		w.text(n, p, f, v.FieldByIndex(f.index))
		return
	}
	if n.kind != mappingNode {
		switch {
		case n.isNull() && len(plan.needed) == 0:
		case plan.short >= 0:
			key := plan.fields[plan.short].key
			article := "a"
			if strings.ContainsRune("aeiou", rune(key[0])) {
				article = "an"
			}
			w.problem(n, p, "expected %s %s, or a mapping with it; found %s", article, key, n.describe())
		default:
			w.problem(n, p, "expected a mapping (key: value), found %s", n.describe())
		}
		return
	}
	var given uint64 // fields by their bit
	for _, e := range w.entries(n, p) {
		key := e.key.value
		here := path{up: p, key: key}
		i, ok := plan.byKey[key]
		if !ok {
			i = w.unknownKey(e.key, &here, plan)
			if i >= 0 {
				given |= 1 << i
			}
			continue
		}
		given |= 1 << i
		f := &plan.fields[i]
		w.value(e.value, e.key, &here, f, v.FieldByIndex(f.index))
	}
	for _, i := range plan.needed {
		f := &plan.fields[i]
		if given&(1<<i) == 0 {
			w.problem(place, &path{up: p, key: f.key}, "is missing")
		}
	}
}

// unknownKey reports a key that is none, and returns the field that was probably meant, or -1.
func (w *walker) unknownKey(key *node, here *path, plan *plan) int {
	word := key.value
	if meant, _, ok := strings.Cut(word, ":"); ok {
		if i, ok := plan.byKey[meant]; ok {
			w.problem(key, here, "a space is missing after the colon")
			return i
		}
	}
	meant := nearest(word, plan.keys)
	if meant == "" {
		w.problem(key, here, "unknown key; valid are %s", strings.Join(plan.keys, ", "))
		return -1
	}
	w.problem(key, here, "unknown key; did you mean %q?", meant)
	// What the wrong key hides is not missing.
	w.findings.mark((&path{up: here.up, key: meant}).String())
	return plan.byKey[meant]
}

// dictionary decodes a mapping with names of the user's choice.
func (w *walker) dictionary(n *node, p *path, f *field, v reflect.Value) {
	required := f != nil && f.required
	switch {
	case n.isNull() && !required:
		return
	case n.kind != mappingNode:
		w.problem(n, p, "expected a mapping (name: …), found %s", n.describe())
		return
	case len(n.entries) == 0 && required:
		w.problem(n, p, "needs at least one entry")
		return
	}
	elem := v.Type().Elem()
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.entries)))
	entries := w.entries(n, p)
	w.tree.names[p.String()] = entries
	for _, e := range entries {
		if w.stopped || w.findings.full() {
			return
		}
		here := path{up: p, key: e.key.value}
		item := reflect.New(elem).Elem()
		w.value(e.value, e.key, &here, nil, item)
		v.SetMapIndex(reflect.ValueOf(here.key), item)
	}
}

// list decodes a list.
func (w *walker) list(n *node, p *path, f *field, v reflect.Value) {
	required := f != nil && f.required
	switch {
	case n.isNull() && !required:
		return
	case n.kind != sequenceNode:
		w.problem(n, p, "expected a list, found %s", n.describe())
		return
	case len(n.items) == 0 && required:
		w.problem(n, p, "needs at least one item")
		return
	}
	var each *field // the words of a list are those of its items
	if f != nil && (f.enum != nil || f.numbers) {
		each = &field{enum: f.enum, numbers: f.numbers}
	}
	items := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	v.Set(items)
	if p.up == nil {
		w.tree.lists[p.key] = n.items
	}
	for i, item := range n.items {
		if w.stopped || w.findings.full() {
			return
		}
		w.value(item, item, &path{up: p, index: i}, each, items.Index(i))
	}
}

// entries are the keys of a mapping, each once, with those that merge keys bring in: the mapping's own win, then the
// first merged (https://yaml.org/type/merge.html). A key that stands in it twice is reported.
func (w *walker) entries(n *node, p *path) []entry {
	merges := false
	for i := range n.entries {
		merges = merges || n.entries[i].merge
	}
	if !merges && !w.duplicates(n, p) {
		return n.entries
	}
	seen := map[string]bool{}
	var all []entry
	add := func(from []entry) {
		for _, e := range from {
			if key := e.key.value; !e.merge && !seen[key] {
				seen[key] = true
				all = append(all, e)
			}
		}
	}
	add(n.entries)
	for _, e := range n.entries {
		if e.merge {
			w.merge(e.value, p, add)
		}
	}
	return all
}

// duplicates reports keys that stand in the mapping more than once.
func (w *walker) duplicates(n *node, p *path) bool {
	found := false
	report := func(first, again *node) {
		found = true
		key := again.value
		w.problem(again, &path{up: p, key: key}, "duplicate key; the first is on line %d", first.line)
	}
	if len(n.entries) <= 12 {
		for i := range n.entries {
			for j := range i {
				if !n.entries[i].merge && n.entries[i].key.value == n.entries[j].key.value {
					report(n.entries[j].key, n.entries[i].key)
					break
				}
			}
		}
		return found
	}
	first := make(map[string]*node, len(n.entries))
	for _, e := range n.entries {
		if before := first[e.key.value]; before != nil && !e.merge {
			report(before, e.key)
			continue
		}
		first[e.key.value] = e.key
	}
	return found
}

// merge hands the entries of the mappings that a merge key names to add.
func (w *walker) merge(n *node, p *path, add func([]entry)) {
	from := n.resolve()
	mappings := []*node{from}
	if from.kind == sequenceNode {
		mappings = from.items
	}
	for _, m := range mappings {
		m = m.resolve()
		if m.kind != mappingNode {
			w.problem(n, p, "a merge key (<<) takes a mapping or a list of mappings, found %s", m.describe())
			return
		}
		w.aliased++
		if w.expanded += len(m.entries); !w.count(n, p) {
			w.aliased--
			return
		}
		add(m.entries)
		for _, e := range m.entries {
			if e.merge {
				w.merge(e.value, p, add)
			}
		}
		w.aliased--
	}
}
