package node

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunHook(t *testing.T) {
	t.Setenv("TRIPOD_SECRET", "not for hooks")
	t.Setenv("KEPT", "yes")
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.WriteFile(closed, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		command []string
		result  string
		says    string // standard output and error
		fails   string // the error
	}{
		{"arguments as they are", []string{"echo", "$HOME", "a  b", "*"}, hookOK, "$HOME a b *", ""},
		{"its environment", []string{"sh", "-c", "echo $TRIPOD_VIP $TRIPOD_NODE $TRIPOD_STATE $TRIPOD_EPOCH $KEPT ${TRIPOD_SECRET-none}"},
			hookOK, "10.0.0.100 n1 holder 7 yes none", ""},
		{"no input", []string{"cat"}, hookOK, "", ""},
		{"both outputs", []string{"sh", "-c", "echo one; echo two >&2; exit 3"}, hookFailed, "one two", "exit status 3"},
		{"killed by itself", []string{"sh", "-c", "kill -9 $$"}, hookFailed, "", "signal: killed"},
		{"endless output", []string{"sh", "-c", "head -c 100000 /dev/zero | tr '\\0' 'x'"}, hookOK, strings.Repeat("x", hookOutput) + " …", ""},
		{"missing", []string{"/no/such/command"}, hookMissing, "", "no such file"},
		{"missing in the path", []string{"no-such-command"}, hookMissing, "", "not found"},
		{"not to be run", []string{closed}, hookMissing, "", "permission denied"},
		{"leaves a daemon", []string{"sh", "-c", "echo up; sleep 5 &"}, hookOK, "up", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, output, err := runHook(t.Context(), time.Minute, test.command, hookVariables("10.0.0.100", "n1", hookHolder, 7))
			if result != test.result || output != test.says || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s, %q, %v; want %s, %q, %q", result, output, err, test.result, test.says, test.fails)
			}
		})
	}
}

// What hangs is killed with all that it has started.
func TestHangingHookIsKilled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "child")
	result, output, err := runHook(t.Context(), 500*time.Millisecond, []string{"sh", "-c", "sleep 60 & echo $! >" + file + "; echo waiting; wait"}, nil)
	if result != hookTimedUp || output != "waiting" || err == nil || !strings.Contains(err.Error(), "within 500ms and was killed") {
		t.Errorf("%s, %q, %v", result, output, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); running(child); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the command's child still runs")
		}
	}
}

// running tells whether a process is neither gone nor waiting to be reaped by whoever has inherited it.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, after, found := strings.Cut(string(stat), ") ")
	return err == nil && found && !strings.HasPrefix(after, "Z")
}

func TestParseDrain(t *testing.T) {
	for _, test := range []struct {
		value string
		drain bool
		by    string
		fails bool
	}{
		{`{"drain":true,"by":"ann@desk","at":"2025-01-02T03:04:05Z"}`, true, "ann@desk", false},
		{`{"drain": true}`, true, "", false},
		{`{"drain": false}`, false, "", false},
		{`{"drain": true, "by": 7, "at": "noon", "why": {}}`, true, "", false},
		{`{}`, false, "", true},
		{`{"drain": "yes"}`, false, "", true},
		{`true`, false, "", true},
		{``, false, "", true},
		{`{"drain":true,"by":"` + strings.Repeat("x", maxDrain) + `"}`, false, "", true},
	} {
		got, err := parseDrain([]byte(test.value))
		if got.Drain != test.drain || got.By != test.by || (err != nil) != test.fails {
			t.Errorf("parseDrain(%.60q) = %+v, %v", test.value, got, err)
		}
	}
}

func FuzzParseDrain(f *testing.F) {
	f.Add([]byte(`{"drain":true,"by":"ann@desk","at":"2025-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"drain":null}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if drain, err := parseDrain(value); err != nil && drain.Drain {
			t.Fatal("rubbish drains")
		}
	})
}

func TestHookEnvironment(t *testing.T) {
	got := hookEnvironment([]string{"PATH=/bin", "TRIPOD_SECRET=x", "TRIPOD_DATA=/y", "MY_TRIPOD_=z"})
	if want := []string{"PATH=/bin", "MY_TRIPOD_=z"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
