package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tripod/testcluster"
)

// testEdit: what was typed is applied, or kept in a file that is named; and no file is left for nothing.
func testEdit(t *testing.T, c *testcluster.Cluster) {
	temp := t.TempDir()
	// A shell script with a space in its path and an argument, as in "code --wait".
	script := filepath.Join(t.TempDir(), "my editor")
	edit := func(body string, args ...string) ended {
		t.Helper()
		if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = --wait ] || exit 9\n"+body), 0o700); err != nil {
			t.Fatal(err)
		}
		return ran(c.CommandEnv([]string{"EDITOR='" + script + "' --wait", "TMPDIR=" + temp}, append([]string{"config", "edit"}, args...)...))
	}
	left := func() []string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(temp, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	before := ran(c.Command("config", "get")).want(t, 0).out

	edit(`printf '# edited\n' >> "$2"`, "-m", "by hand").want(t, 0, "+# edited", ", served by ")
	edited := ran(c.Command("config", "get")).want(t, 0).out
	if edited != before+"# edited\n" {
		t.Errorf("after the edit:\n%s", edited)
	}
	if e := edit("exit 0").want(t, 0, "no change"); strings.Contains(e.out, "revision") {
		t.Errorf("an edit of nothing: %s", e.out)
	}
	if files := left(); len(files) != 0 {
		t.Errorf("files left behind: %q", files)
	}

	// keptIn checks that exactly one file was kept, is named, and holds the text.
	keptIn := func(e ended, text string) {
		t.Helper()
		name := regexp.MustCompile(regexp.QuoteMeta(temp) + `/tripod-[0-9]+\.yaml`).FindString(e.err)
		got, err := os.ReadFile(name)
		if err != nil || string(got) != text {
			t.Errorf("the text is not kept in the file that is named (%v):\n%s", err, e.err)
		}
		if files := left(); len(files) != 1 {
			t.Errorf("files left behind: %q", files)
		}
		os.Remove(name)
	}
	e := edit(`printf 'rutes: []\n' >> "$2"`).want(t, 1, `did you mean "routes"?`, "your text is kept in ", "tripod config apply ")
	keptIn(e, edited+"rutes: []\n")
	keptIn(edit(`printf 'half' >> "$2"; exit 3`).want(t, 1, "nothing was changed", "exit status 3"), edited+"half")
	keptIn(edit("kill -9 $$").want(t, 1, "nothing was changed"), edited)

	// Somebody else is faster. The editor's own environment would run the commands of the cluster, too.
	theirs := write(t, "theirs.yaml", before+"# theirs\n")
	e = edit(`printf '# mine\n' >> "$2"; '` + c.Program().Path + `' config apply -m theirs '` + theirs + `' >&2 || exit 8`)
	e.want(t, 1, "the document changed", "theirs", "get it again")
	keptIn(e, edited+"# mine\n")
	if got := ran(c.Command("config", "get")).out; got != before+"# theirs\n" {
		t.Errorf("the other's change was lost:\n%s", got)
	}
}
