//go:build unix

package health

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run asks by a script of the shell.
func run(t *testing.T, timeout time.Duration, script string, args ...string) (Verdict, error) {
	t.Helper()
	c := Config{Type: Exec, Command: append([]string{"/bin/sh", "-c", script, "check"}, args...), Timeout: timeout}
	return c.Compile().Ask(t.Context(), Target{Address: "10.0.0.1:80", Name: "a.test:80", Service: "web"})
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"well", "exit 0", "passed"},
		{"well, with words", "echo all is well; exit 0", "passed"},
		{"well, with a line that only begins as an agent's", "echo 0% packet loss", "passed"},
		{"ill", "exit 3", "exit status 3"},
		{"ill, and why", "echo; echo 'disk is full'; echo more; exit 1", "exit status 1: disk is full"},
		{"ill, and why, as an error", "echo 'no route' >&2; exit 2", "exit status 2: no route"},
		{"ill, with colours", `printf '\033[31mred\007 \377\n'; exit 1`, "exit status 1: �[31mred� �"},
		{"ended by a signal", "kill -9 $$", "signal: killed"},
		{"an agent's line", "echo 'up 30%'", "passed 30%"},
		{"an agent's line goes before the exit code", "echo drain; exit 1", "draining"},
		{"an agent's line beside warnings", "echo careful >&2; echo maint", "stopped"},
		{"an agent's line that says down", "echo 'down # by hand'; exit 0", "said down: by hand"},
		{"an agent's line without its end", "printf 'up 7%%'", "passed 7%"},
		{"only the first line is an agent's", "echo hello; echo down", "passed"},
		{"much output", "i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done", "passed"},
		{"a long line", "printf 'x%.0s' $(seq 10000); exit 1", "exit status 1: xxx"},
		{"input ends at once", "cat; echo \"input has ended\"; exit 1", "exit status 1: input has ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := run(t, patient, tt.script)
			got := told(v, err)
			if !strings.HasPrefix(got, tt.want) || err == nil && got != tt.want || len(got) > 2*maxWords {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if errors.As(err, new(*DownError)) != strings.HasPrefix(tt.want, "said") {
				t.Errorf("%v: %T", err, err)
			}
		})
	}
	for want, command := range map[string]string{"no such file": "/nonexistent/check", "not found": "tripod-check-that-is-not-there", "permission denied": os.DevNull} {
		_, err := Config{Type: Exec, Command: []string{command}, Timeout: patient}.Compile().Ask(t.Context(), Target{Address: "10.0.0.1:80"})
		wants(t, err, "could not be started: ")
		wants(t, err, want)
	}
}

// There is no shell between the document and the command.
func TestCommandsWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "words")
	_, err := run(t, patient, `printf '%s|' "$@" >"$1"`, file, "a b", "$HOME", "*", "; exit 1", "")
	wants(t, err, "")
	text, err := os.ReadFile(file)
	if err != nil || string(text) != file+"|a b|$HOME|*|; exit 1||" {
		t.Errorf("got %q, %v", text, err)
	}
}

// A command knows whom it is to ask, and not the cluster's secret.
func TestCommandsEnvironment(t *testing.T) {
	t.Setenv("TRIPOD_SECRET", "hush")
	t.Setenv("TRIPOD_SERVER", "other")
	t.Setenv("ELSEWHERE", "kept")
	file := filepath.Join(t.TempDir(), "environment")
	_, err := run(t, patient, `env >"$1"`, file)
	wants(t, err, "")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "TRIPOD_") || strings.HasPrefix(line, "ELSEWHERE=") {
			got = append(got, line)
		}
	}
	slices.Sort(got)
	want := []string{"ELSEWHERE=kept", "TRIPOD_HOST=10.0.0.1", "TRIPOD_PORT=80", "TRIPOD_SERVER=10.0.0.1:80", "TRIPOD_SERVICE=web"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if env := commandEnvironment(nil, Target{Address: "[2001:db8::1]:80"}); !slices.Contains(env, "TRIPOD_HOST=2001:db8::1") {
		t.Errorf("got %q", env)
	}
}

// A command that will not end is killed with all of its process group, whatever signals they ignore.
func TestCommandsAreKilledWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	start := time.Now()
	_, err := run(t, time.Second, `trap '' TERM INT HUP
		(trap '' TERM INT HUP; sleep 1000 & echo $! >>"$1"; wait) &
		echo $! >>"$1"; echo $$ >>"$1"
		echo up
		while true; do sleep 1000; done`, file)
	wants(t, err, "did not end within 1s and was killed")
	if spent := time.Since(start); spent > patient {
		t.Errorf("took %s", spent)
	}
	allGone(t, file, 3)
}

// A flood of output ends the command, long before its time.
func TestCommandsThatFlood(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	for _, script := range []string{`echo $$ >>"$1"; exec yes`, `echo $$ >>"$1"; exec yes >&2`} {
		start := time.Now()
		_, err := run(t, patient, script, file)
		wants(t, err, "said more than 1024 KiB")
		if spent := time.Since(start); spent >= patient {
			t.Errorf("took %s", spent)
		}
	}
	allGone(t, file, 2)
}

// allGone waits until the processes are gone whose numbers are in a file. One that nobody has reaped is.
func allGone(t *testing.T, file string, n int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Fields(string(text))
	if len(numbers) != n {
		t.Errorf("%d processes, want %d", len(numbers), n)
	}
	for _, number := range numbers {
		pid, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of process "+number, func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(state), ") Z ")
		})
	}
}
