package lock_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// tenure is one grant, as the book tells it.
type tenure struct {
	line
	first, last time.Duration // beats; 0 if there is none
	released    time.Duration // 0 if it was not
}

// history is what the workers' book says.
type history struct {
	tenures []*tenure // by token
	writes  []line    // Kind is wrote, refused, or writing if nobody knows
}

func readHistory(t *testing.T, file string) history {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // somebody may be writing
	var h history
	byToken, byValue := map[int64]*tenure{}, map[string]int{}
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatalf("%v: %s", err, scanner.Bytes())
		}
		switch l.Kind {
		case "granted", "upgraded":
			if other := byToken[l.Token]; other != nil {
				t.Errorf("two grants have one token: %+v, %+v", other.line, l)
			}
			n := &tenure{line: l}
			byToken[l.Token] = n
			h.tenures = append(h.tenures, n)
		case "beat":
			n := byToken[l.Token]
			if n.first == 0 {
				n.first = l.Call
			}
			n.last = l.Call
		case "writing":
			byValue[l.Value] = len(h.writes)
			h.writes = append(h.writes, l)
		case "wrote", "refused":
			h.writes[byValue[l.Value]] = l
		case "released":
			byToken[l.Token].released = l.Return
		}
	}
	slices.SortFunc(h.tenures, func(a, b *tenure) int { return int(a.Token - b.Token) })
	return h
}

// kinds counts what happened.
func (h history) kinds() map[string]int {
	kinds := map[string]int{}
	for _, w := range h.writes {
		kinds[w.Kind]++
	}
	for _, n := range h.tenures {
		kinds[n.Kind]++
		if n.released == 0 {
			kinds["not released"]++
		}
	}
	return kinds
}

// enough tells whether so much has happened that the history says something.
func (h history) enough() bool {
	kinds := h.kinds()
	return kinds["granted"] >= 20 && kinds["not released"] > 0 && kinds["upgraded"] > 0 && kinds["wrote"] >= 20 && kinds["refused"] > 0
}

// apart finds two who acted at the same time, of whom one had the lock for itself, or in another order than that of their tokens.
func (h history) apart(t *testing.T) {
	t.Helper()
	for i, a := range h.tenures {
		for _, b := range h.tenures[i+1:] {
			if a.first == 0 || b.first == 0 || a.Shared && b.Shared || b.Before == a.Token {
				continue
			}
			if b.first <= a.last {
				t.Errorf("token %d of worker %d (shared: %v) was used from %s to %s, and token %d of worker %d (shared: %v) from %s to %s",
					a.Token, a.Worker, a.Shared, a.first, a.last, b.Token, b.Worker, b.Shared, b.first, b.last)
			}
		}
	}
}

// state of the model: who holds, by tokens; the last token; and the value that was last written.
type held struct {
	last      int64
	exclusive int64
	shared    string // ",token,token,"
	value     string
}

// step is an operation of the model.
type step struct {
	kind  string // grant, upgrade, end, write, read
	token int64
	old   int64
	share bool
	value string
	prior string
	known bool // of a write: whether it was answered
	ok    bool
}

func (h held) has(token int64) bool {
	return h.exclusive == token || strings.Contains(h.shared, fmt.Sprintf(",%d,", token))
}

func (h held) without(token int64) held {
	if h.exclusive == token {
		h.exclusive = 0
	}
	h.shared = strings.Replace(h.shared, fmt.Sprintf(",%d,", token), ",", 1)
	return h
}

// model is what a lock is.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return held{shared: ","} },
		Step: func(before, input, _ any) (bool, any) {
			h, s := before.(held), input.(step)
			switch s.kind {
			case "grant":
				free := h.exclusive == 0 && (s.share || h.shared == ",")
				if s.share {
					h.shared += fmt.Sprintf("%d,", s.token)
				} else {
					h.exclusive = s.token
				}
				grown := s.token > h.last
				h.last = s.token
				return free && grown, h
			case "upgrade":
				alone, grown := h.exclusive == 0 && h.shared == fmt.Sprintf(",%d,", s.old), s.token > h.last
				h.shared, h.exclusive, h.last = ",", s.token, s.token
				return alone && grown, h
			case "end":
				return true, h.without(s.token)
			case "write":
				has := h.has(s.token)
				if s.known && (has != s.ok || h.value != s.prior) {
					return false, h
				}
				if has {
					h.value = s.value
				}
				return true, h
			}
			return h.value == s.value, h // a read
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
	}
}

const never = time.Duration(math.MaxInt64)

// operations are the history for the checker. A grant ends at a moment that nobody has seen: after it was last used; and before it was
// released, or else before the next one was granted that it would be in the way of, since it is in the way until it ends.
func (h history) operations() []porcupine.Operation {
	var all []porcupine.Operation
	add := func(worker int, s step, call, ret time.Duration) {
		all = append(all, porcupine.Operation{ClientId: worker, Input: s, Call: int64(call), Return: int64(ret)})
	}
	ends := map[int64]time.Duration{}
	for i, n := range h.tenures {
		kind := "grant"
		if n.Kind == "upgraded" {
			kind = "upgrade"
		}
		add(n.Worker, step{kind: kind, token: n.Token, old: n.Before, share: n.Shared}, n.Call, n.Return)
		end := n.released
		upgraded := false
		for _, next := range h.tenures[i+1:] {
			upgraded = upgraded || next.Before == n.Token
			if end == 0 && (!next.Shared || !n.Shared) {
				end = next.Return
			}
		}
		if end == 0 {
			end = never - 1
		}
		ends[n.Token] = end
		if !upgraded { // then the upgrade ends it
			add(n.Worker, step{kind: "end", token: n.Token}, max(n.Return, n.last), end)
		}
	}
	for _, w := range h.writes {
		ret := w.Return
		if w.Kind == "writing" {
			// It has been executed before the grant ended, or does nothing.
			ret = max(ends[w.Token], w.Call) + 1
		}
		add(w.Worker, step{kind: "write", token: w.Token, value: w.Value, prior: w.Prior, known: w.Kind != "writing", ok: w.Kind == "wrote"}, w.Call, ret)
	}
	return all
}

// check has the whole history checked; last is what was read when all was over.
func (h history) check(t *testing.T, last string) {
	t.Helper()
	h.apart(t)
	operations := append(h.operations(), porcupine.Operation{Input: step{kind: "read", value: last}, Call: int64(never - 1), Return: int64(never)})
	result, info := porcupine.CheckOperationsVerbose(model(), operations, 2*time.Minute)
	if result != porcupine.Ok {
		if path, err := os.CreateTemp("", "lock-history-*.html"); err == nil {
			_ = porcupine.Visualize(model(), info, path)
			_ = path.Close()
			t.Logf("see %s", path.Name())
		}
		t.Errorf("the history of %d operations is not one of a lock: %v", len(operations), result)
	}
}
