package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// maxKept bounds what is kept of what a command says on one of its outputs, in bytes.
	maxKept = 4 << 10
	// maxOutput bounds what a command may say there before it is told that nobody listens.
	maxOutput = 1 << 20
	// linger is how long output is waited for that somebody holds open who has left the command's process group.
	linger = 100 * time.Millisecond
)

// ended is what became of a command that was started.
type ended struct {
	code        int    // exit code; -1 if a signal ended it
	how         string // the same in words
	killed      bool   // at the end of its time
	said, wrong output // standard output and error
}

// askCommand runs a command. Its first line counts as an agent's if it is one from the first word to the last; else its exit code counts.
func (p *Probe) askCommand(ctx context.Context, t Target) (Verdict, error) {
	var e ended
	err := e.run(ctx, p.config.Command, commandEnvironment(os.Environ(), t))
	switch {
	case e.killed:
		return Verdict{}, plainf("did not end within %s and was killed", p.config.Timeout)
	case err != nil:
		return Verdict{}, plainf("could not be started: %s", printable(err.Error(), maxWords))
	case e.said.spilled || e.wrong.spilled:
		return Verdict{}, plainf("said more than %d KiB", maxOutput>>10)
	}
	if verdict, err := parseLine(e.said.firstLine()); err == nil || errors.As(err, new(*DownError)) {
		return verdict, err
	}
	if e.code == 0 {
		return Verdict{}, nil
	}
	for _, o := range []*output{&e.said, &e.wrong} {
		if line := printable(o.firstLine(), maxWords); line != "" {
			return Verdict{}, plainf("%s: %s", e.how, line)
		}
	}
	return Verdict{}, plainError(e.how)
}

// commandEnvironment is the node's environment without its own settings, among which may be the cluster's secret, and who is to be asked.
func commandEnvironment(all []string, t Target) []string {
	var kept []string
	for _, v := range all {
		if !strings.HasPrefix(v, "TRIPOD_") {
			kept = append(kept, v)
		}
	}
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil {
		host = t.Address
	}
	return append(kept, "TRIPOD_SERVICE="+t.Service, "TRIPOD_SERVER="+t.Address, "TRIPOD_HOST="+host, "TRIPOD_PORT="+port)
}

// output keeps the beginning of what is written to it.
type output struct {
	kept    bytes.Buffer
	all     int
	spilled bool
}

// Write implements io.Writer. It takes more than is kept, so that a command that says much is not held up by it; at a flood it fails, which closes the
// command's output.
func (o *output) Write(text []byte) (int, error) {
	o.kept.Write(text[:min(maxKept-o.kept.Len(), len(text))])
	if o.all += len(text); o.all > maxOutput {
		o.spilled = true
		return 0, fmt.Errorf("more than %d bytes", maxOutput)
	}
	return len(text), nil
}

// firstLine is the first line that is not empty.
func (o *output) firstLine() string {
	line, _, _ := strings.Cut(strings.TrimLeft(o.kept.String(), " \t\r\n"), "\n")
	return strings.TrimRight(line, "\r")
}
