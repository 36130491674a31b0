// Package config is the document: the one YAML text that says what a cluster serves.
//
// # From text to what the parts take
//
// [Parse] turns a text into a [Document], or into [Problems]: every mistake that it can find, each with
// file, line, column, the path of the offending value, and the nearest valid word. It goes in four steps.
//
//  1. guard: size, UTF-8, and characters that are not text or end a line for some readers only, on the raw bytes.
//  2. read: go.yaml.in/yaml/v3 makes a tree of nodes, which is converted to ours: every value placed where it is written, with
//     what a configuration does not need and a mistake often makes refused: tags, keys that are not text, a second
//     document, nesting deeper than 32. What the library finds wrong is said in plain words, with the place where it was
//     noticed or where what is not closed was opened. What a scalar is, the core schema of YAML 1.2
//     decides, and not the library, which knows some of 1.1 too: yes, off and 1_000 are text.
//  3. decode: one walk of the tree against the Go types, by their struct tags (see below), reports unknown,
//     missing and duplicate keys, wrong types and values out of range, and fills the document. What aliases
//     multiply is bounded.
//  4. check: what one value cannot show: names that lead nowhere, addresses that collide, and what each part's own
//     Validate finds.
//
// # Struct tags
//
// The parts declare their configuration types themselves; this package reads their tags, for the checks and for
// the JSON Schema ([Schema]) alike:
//
//	yaml:"name"      the key; yaml:",inline" of a struct: its keys are among those around it
//	doc:"text"       what it means, for the schema
//	required:"true"  must be there and not be empty
//	default:"value"  is filled in when the key is absent (never through a pointer: there nil tells the part)
//	enum:"a,b"       the words allowed, of a list those of its items
//	keys:"pattern"   what the keys of a map match, for the schema alone: the part's Validate checks them
//	min:"0" max:"9"  limits of a number
//	short:"true"     a bare string stands for a mapping with just this key
//
// # In etcd
//
// [Store] keeps the document at [Key] as it was written, comments and all. A change made by plain
// "etcdctl put" is as good as one made by [Store.Put]: [Store.Watch] follows the key, and whoever sees a new
// revision calls [Store.Record], which keeps the text with author, time and message under
// [HistoryPrefix], once per revision, the newest 100.
package config
