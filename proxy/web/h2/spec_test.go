package h2_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/message"
)

// TestSpec runs h2spec (generic, http2 and hpack) against a server that answers, and the case that needs streams which stay open against one that
// does not.
func TestSpec(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command to run h2spec with")
	}
	const concurrency = "http2/5.1.2: Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded"
	t.Run("answering", func(t *testing.T) {
		cases := runSpec(t, serve(t, nil, answerSpec), map[string]string{concurrency: "answered streams are over"})
		if cases < 140 {
			t.Errorf("only %d cases", cases)
		}
	})
	t.Run("waiting", func(t *testing.T) {
		if cases := runSpec(t, serve(t, nil, hold), nil, "http2/5.1.2"); cases != 1 {
			t.Errorf("%d cases", cases)
		}
	})
}

// answerSpec reads the request, and answers with some content.
func answerSpec(s *h2.Stream) {
	for buf := make([]byte, 1000); ; {
		if _, err := s.Read(buf); err == io.EOF {
			break
		} else if err != nil {
			return
		}
	}
	if s.Respond(200, []message.Field{{Name: "Content-Length", Value: "10"}}, false) == nil {
		_ = s.Write([]byte("0123456789"), true)
	}
}

type gone chan struct{}

func (g gone) ClientGone() { close(g) }

// hold answers when there is nobody any more.
func hold(s *h2.Stream) {
	g := make(gone)
	s.Watch(g)
	<-g
}

// runSpec runs h2spec, fails for every case that fails and has no exception, and returns the number of cases.
func runSpec(t *testing.T, s *server, exceptions map[string]string, sections ...string) (cases int) {
	_, port, err := net.SplitHostPort(s.addr())
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	args := []string{"tool", "h2spec", "--strict", "--timeout", "1", "-h", "127.0.0.1", "-p", port, "-j", report}
	out, runErr := exec.Command("go", append(args, sections...)...).CombinedOutput()
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("h2spec made no report: %v, %v\n%s", err, runErr, out)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Class   string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &suites); err != nil {
		t.Fatal(err)
	}
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			cases++
			name := c.Package + ": " + c.Class
			why, excepted := exceptions[name]
			switch {
			case c.Failure == nil && c.Error == nil && c.Skipped == nil:
			case excepted:
				t.Logf("%s: excepted, for %s", name, why)
			default:
				t.Errorf("%s: failed", name)
			}
		}
	}
	if t.Failed() {
		_, failures, _ := bytes.Cut(out, []byte("Failures:"))
		t.Logf("%s", failures)
	}
	return cases
}
