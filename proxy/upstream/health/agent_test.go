package health

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestAgentLines(t *testing.T) {
	const unknown = "no word of an agent"
	for line, want := range map[string]string{ // as told: state, percent, or the error's text
		"up":                           "passed",
		"UP":                           "passed",
		"ready":                        "passed",
		"Ready, Up":                    "passed",
		"up # all fine, 100%":          "passed",
		"50%":                          "passed 50%",
		"up 50%":                       "passed 50%",
		"75%\tup":                      "passed 75%",
		"up,1%":                        "passed 1%",
		"100%":                         "passed 100%",
		"250%":                         "passed 100%",
		"0%":                           "draining",
		"up 0%":                        "draining",
		"drain":                        "draining",
		"up,drain 30%":                 "draining 30%",
		"maint":                        "stopped",
		"maint # by hand":              "stopped",
		"maint drain down":             "stopped",
		"up maxconn:30 100%":           "passed 100%",
		"down":                         "said down",
		"down # disk is full ":         "said down: disk is full",
		"down#disk":                    "said down: disk",
		"failed":                       "said failed",
		"fail #x":                      "said fail: x",
		"stopped\t# to be upgraded":    "said stopped: to be upgraded",
		"up down":                      "said down",
		"drain down 50%":               "said down",
		"down # \x1b[31mred\x07":       "said down: �[31mred�",
		"":                             "said nothing",
		"   \t,, ":                     "said nothing",
		"# nothing":                    "said nothing",
		"well":                         unknown,
		"up and running":               `of which "and" is ` + unknown,
		"up -5%":                       `"-5%" is ` + unknown,
		"+5%":                          unknown,
		"5 %":                          `"5" is ` + unknown,
		"%":                            unknown,
		"1e2%":                         unknown,
		"99999999999999999999%":        unknown,
		"maxconn:":                     unknown,
		"maxconn:x":                    unknown,
		"down wonky":                   `"wonky" is ` + unknown,
		"\xff\xfe\x00":                 `said "��", of which "��" is ` + unknown,
		"up\x00":                       unknown,
		"HTTP/1.1 400 Bad Request":     `said "HTTP/1.1 400 Bad Request", of which "HTTP/1.1" is ` + unknown,
		strings.Repeat("x", maxLine-1): `x …" is ` + unknown,
	} {
		v, err := parseLine(line)
		if got := told(v, err); !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
		if down := errors.As(err, new(*DownError)); down != strings.HasPrefix(want, "said ") && want != "said nothing" && !strings.Contains(want, unknown) {
			t.Errorf("%q: down in so many words: %t", line, down)
		}
	}
}

// told is an outcome in words.
func told(v Verdict, err error) string {
	if err != nil {
		return err.Error()
	}
	s := [...]string{"passed", "draining", "stopped"}[v.State]
	if v.Percent > 0 {
		s += fmt.Sprintf(" %d%%", v.Percent)
	}
	return s
}

func TestAgent(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		timeout       time.Duration
		want          string
	}{
		{"a line", say(t, "up 50%\n", true), patient, "passed 50%"},
		{"a line of another system", say(t, "drain\r\nrest", true), patient, "draining"},
		{"a line without its end", say(t, "maint", false), patient, "stopped"},
		{"the first line counts", say(t, "down # first\nup\n", false), patient, "said down: first"},
		{"in pieces", serve(t, func(c net.Conn) {
			for _, b := range []byte("up 10%\n") {
				c.Write([]byte{b})
				time.Sleep(time.Millisecond)
			}
		}), patient, "passed 10%"},
		{"the longest line", say(t, "up #"+strings.Repeat("x", maxLine-4)+"\n", true), patient, "passed"},
		{"a line that is too long", say(t, "up #"+strings.Repeat("x", maxLine-3)+"\n", true), patient, "said more than 256 bytes without the end of a line"},
		{"a flood", serve(t, func(c net.Conn) { forever(c, "up up up up ", 0) }), patient, "said more than 256 bytes"},
		{"a trickle", serve(t, func(c net.Conn) { forever(c, " ", 5*time.Millisecond) }), hasty, "no answer within 100ms"},
		{"half a line", say(t, "up", true), hasty, "no answer within 100ms"},
		{"silence", silent(t), hasty, "no answer within 100ms"},
		{"nothing", say(t, "", false), patient, "said nothing"},
		{"an empty line", say(t, "\nup\n", true), patient, "said nothing"},
		{"reset", serve(t, reset), patient, "connection reset"},
		{"garbage", say(t, "\x16\x03\x01\x00\n", false), patient, "is no word of an agent"},
		{"nobody", nobody(t), patient, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, port, _ := net.SplitHostPort(tt.address)
			var n int
			fmt.Sscan(port, &n)
			v, err := Config{Type: Agent, Port: n, Timeout: tt.timeout}.Compile().Ask(t.Context(), Target{Address: "127.0.0.1:1"})
			if got := told(v, err); !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzAgentLine(f *testing.F) {
	for _, s := range []string{"up\n", "down # reason\r\n", "50% drain", "maint,ready\t0%", "maxconn:5 up", "\xff\n", "# x", "up up up", strings.Repeat("7", 300)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		line, err := readLine(strings.NewReader(string(text)))
		if err != nil {
			if len(text) <= maxLine {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if len(line) > maxLine || strings.ContainsAny(line, "\r\n") || !strings.HasPrefix(string(text), line) {
			t.Fatalf("%q has the line %q", text, line)
		}
		v, err := parseLine(line)
		if v.Percent < 0 || v.Percent > 100 || v.State > Stopped || err != nil && v != (Verdict{}) {
			t.Errorf("%q: %+v, %v", line, v, err)
		}
		if err != nil {
			said := err.Error()
			if !utf8.ValidString(said) || len(said) > 4*maxWords || strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q is told as %q", line, said)
			}
		}
		// Words mean the same in any order and case, and however they are set apart.
		said, _, _ := strings.Cut(line, "#")
		words := strings.FieldsFunc(said, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
		if err == nil && v.Percent == 0 {
			for i, j := 0, len(words)-1; i < j; i, j = i+1, j-1 {
				words[i], words[j] = words[j], words[i]
			}
			if again, err := parseLine(strings.ToUpper(strings.Join(words, ",\t"))); again != v || err != nil {
				t.Errorf("%q: %+v, turned round %+v, %v", line, v, again, err)
			}
		}
	})
}

// slowReader gives a byte at a time.
type slowReader struct{ from io.Reader }

func (r slowReader) Read(b []byte) (int, error) { return r.from.Read(b[:1]) }

func TestLineInBytes(t *testing.T) {
	line, err := readLine(slowReader{strings.NewReader(strings.Repeat("x", maxLine) + "\n")})
	if err != nil || len(line) != maxLine {
		t.Errorf("%d bytes, %v", len(line), err)
	}
	if _, err = readLine(slowReader{strings.NewReader(strings.Repeat("x", maxLine+1))}); err == nil {
		t.Error("a line that is too long passes")
	}
}
