package health

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
)

// maxLine bounds what an agent may say, in bytes.
const maxLine = 256

// askAgent connects to an agent and reads what it says. Unlike HAProxy's, which stands beside a check of the server itself, it is all that is known
// of the server: an agent that cannot be reached is a failed check.
func (p *Probe) askAgent(ctx context.Context, t Target) (Verdict, error) {
	l, err := t.connect(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer l.end()
	line, err := readLine(l)
	if err != nil {
		return Verdict{}, err
	}
	return parseLine(line)
}

// readLine reads to the end of a line, or of what there is.
func readLine(r io.Reader) (string, error) {
	text := make([]byte, 0, maxLine+1)
	for {
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if i := bytes.IndexAny(text, "\r\n"); i >= 0 {
			return string(text[:i]), nil
		}
		switch {
		case len(text) > maxLine:
			return "", plainf("said more than %d bytes without the end of a line: %q …", maxLine, printable(string(text), 40))
		case errors.Is(err, io.EOF):
			return string(text), nil
		case err != nil:
			return "", err
		}
	}
}

// parseLine reads an agent's line in the form of HAProxy's agent-check (configuration.txt §5.2): words in any order, whatever their case, between spaces,
// tabs and commas, and a reason after a #. Of several words the gravest counts: maint, then down, then drain. A line says everything: what it
// does not mention is as if there were no agent. maxconn:N is understood and has no effect.
func parseLine(line string) (Verdict, error) {
	said, reason, _ := strings.Cut(line, "#")
	words := strings.FieldsFunc(said, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if len(words) == 0 {
		return Verdict{}, plainError("said nothing: it has to say up, down, drain, maint or a percentage")
	}
	var v Verdict
	var down *DownError
	for _, word := range words {
		switch lower := strings.ToLower(word); lower {
		case "up", "ready":
		case "down", "fail", "failed", "stopped":
			down = &DownError{Word: lower, Reason: printable(reason, maxWords)}
		case "drain":
			v.State = max(v.State, Draining)
		case "maint":
			v.State = Stopped
		default:
			percent, ok := parsePercent(lower)
			switch {
			case !ok && !isMaxConnections(lower):
				return Verdict{}, plainf("said %q, of which %q is no word of an agent: up, down, drain, maint, or a percentage", printable(line, 80), printable(word, 40))
			case !ok:
			case percent == 0:
				v.State = max(v.State, Draining)
			default:
				v.Percent = min(percent, 100)
			}
		}
	}
	if down != nil && v.State != Stopped {
		return Verdict{}, down
	}
	return v, nil
}

// parsePercent reads a share of the weight. More than all of it is possible with HAProxy; it is for the caller to see what that means.
func parsePercent(word string) (int, bool) {
	digits, ok := strings.CutSuffix(word, "%")
	n, err := strconv.ParseUint(digits, 10, 16)
	return int(n), ok && err == nil
}

func isMaxConnections(word string) bool {
	digits, ok := strings.CutPrefix(word, "maxconn:")
	_, err := strconv.ParseUint(digits, 10, 32)
	return ok && err == nil
}
