package config

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	ten := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"
	for _, c := range []struct{ name, old, new, want string }{
		{"same", ten, ten, ""},
		{"both empty", "", "", ""},
		{"from nothing", "", "a\nb\n", "--- a\n+++ b\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"to nothing", "a\n", "", "--- a\n+++ b\n@@ -1 +0,0 @@\n-a\n"},
		{"middle", ten, strings.Replace(ten, "5\n", "five\n", 1),
			"--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
		{"insert", ten, strings.Replace(ten, "5\n", "5\n5.5\n", 1),
			"--- a\n+++ b\n@@ -3,6 +3,7 @@\n 3\n 4\n 5\n+5.5\n 6\n 7\n 8\n"},
		{"two hunks", ten, strings.Replace(strings.Replace(ten, "1\n2", "2", 1), "10\n", "ten\n", 1),
			"--- a\n+++ b\n@@ -1,4 +1,3 @@\n-1\n 2\n 3\n 4\n@@ -7,4 +6,4 @@\n 7\n 8\n 9\n-10\n+ten\n"},
		{"one hunk", ten, strings.Replace(strings.Replace(ten, "2\n", "", 1), "9\n", "", 1),
			"--- a\n+++ b\n@@ -1,10 +1,8 @@\n 1\n-2\n 3\n 4\n 5\n 6\n 7\n 8\n-9\n 10\n"},
		{"no newline", "a\nb", "a\nb\n",
			"--- a\n+++ b\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Diff("a", "b", []byte(c.old), []byte(c.new)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			reproduces(t, c.old, c.new)
		})
	}
}

// TestDiffIsShort compares texts with few unique lines, where the shortest edit has to be searched.
func TestDiffIsShort(t *testing.T) {
	diff := Diff("a", "b", []byte("a\nb\nc\na\nb\nb\na\n"), []byte("c\nb\na\nb\na\nc\n"))
	changes := 0
	for _, line := range lines([]byte(diff))[2:] {
		if line[0] == '+' || line[0] == '-' {
			changes++
		}
	}
	if changes != 5 { // the example of Myers' paper
		t.Errorf("%d changes:\n%s", changes, diff)
	}
}

func TestDiffOfLargeDocumentsIsFast(t *testing.T) {
	text := large(5000)
	lines := strings.SplitAfter(text, "\n")
	changed := append([]string(nil), lines...)
	for i := 100; i < len(changed); i += 1000 {
		changed[i] = "# " + changed[i]
	}
	reversed := make([]string, len(lines))
	for i, line := range lines {
		reversed[len(lines)-1-i] = line
	}
	for name, other := range map[string]string{
		"few changes": strings.Join(changed, ""),
		"reversed":    strings.Join(reversed, ""),
		"unrelated":   strings.Repeat("x\ny\nx\nz\n", len(text)/8),
		"same lines":  strings.Repeat("x\n", len(text)/2),
	} {
		old := text
		if name == "same lines" {
			old = strings.Repeat("x\ny\n", len(text)/4)
		}
		start := time.Now()
		diff := Diff("a", "b", []byte(old), []byte(other))
		took := time.Since(start)
		t.Logf("%s: %s, %d KB", name, took, len(diff)>>10)
		if took > 5*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
		if err := patchBoth(diff, old, other); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "few changes" && len(diff) > 20<<10 {
			t.Errorf("%s: %d bytes", name, len(diff))
		}
	}
}

func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\n")
	f.Add("", "a")
	f.Add("a\na\nb\na\n", "a\nb\nb\na")
	f.Add(example, strings.ReplaceAll(example, "web", "www"))
	f.Fuzz(func(t *testing.T, old, new string) { reproduces(t, old, new) })
}

func reproduces(t *testing.T, old, new string) {
	t.Helper()
	diff := Diff("a", "b", []byte(old), []byte(new))
	if (diff == "") != (old == new) {
		t.Fatalf("texts %q and %q give %q", old, new, diff)
	}
	if err := patchBoth(diff, old, new); err != nil {
		t.Fatalf("%v\nfrom %q to %q by\n%s", err, old, new, diff)
	}
}

// patchBoth applies a diff forwards and backwards.
func patchBoth(diff, old, new string) error {
	if got, err := patch(diff, old, '-', '+', 0); err != nil || got != new {
		return fmt.Errorf("forwards: %v", err)
	}
	if got, err := patch(diff, new, '+', '-', 1); err != nil || got != old {
		return fmt.Errorf("backwards: %v", err)
	}
	return nil
}

// patch is what patch(1) does, without any tolerance.
func patch(diff, text string, remove, add byte, side int) (string, error) {
	in := lines([]byte(text))
	var out strings.Builder
	next := 0
	rows := lines([]byte(diff))
	for i := 0; i < len(rows); i++ {
		row := rows[i]
		if i+1 < len(rows) && strings.HasPrefix(rows[i+1], `\ `) {
			row = strings.TrimSuffix(row, "\n")
		}
		switch {
		case i < 2 || strings.HasPrefix(row, `\ `):
		case strings.HasPrefix(row, "@@ "):
			start, count, found := strings.Cut(strings.Fields(row)[1+side][1:], ",")
			at, err := strconv.Atoi(start)
			if err != nil {
				return "", err
			}
			if !found || count != "0" {
				at--
			}
			for next < at {
				out.WriteString(in[next])
				next++
			}
		case row[0] == add:
			out.WriteString(row[1:])
		default:
			if next >= len(in) || in[next] != row[1:] {
				return "", fmt.Errorf("line %d of the diff does not match line %d", i+1, next+1)
			}
			if row[0] != remove {
				out.WriteString(in[next])
			}
			next++
		}
	}
	out.WriteString(strings.Join(in[next:], ""))
	return out.String(), nil
}
