package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// maxWords bounds what is told of a fault, in bytes: some of it is the server's own words.
const maxWords = 300

// plainError is a text that is for people as it stands.
type plainError string

// Error is the text.
func (e plainError) Error() string { return string(e) }

func plainf(format string, args ...any) error { return plainError(fmt.Sprintf(format, args...)) }

// inWords puts the faults that everybody meets into few words.
func (p *Probe) inWords(ctx context.Context, err error) error {
	var plain plainError
	var down *DownError
	if errors.As(err, &plain) || errors.As(err, &down) {
		return err
	}
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var errno syscall.Errno
	switch {
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded): // whatever else became of it meanwhile
		return plainf("no answer within %s", p.config.Timeout)
	case errors.As(err, &certificate):
		return plainf("certificate: %s", printable(certificate.Err.Error(), maxWords))
	case errors.As(err, &record):
		return plainError("does not speak TLS")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return plainError("connection reset")
	case errors.As(err, &errno):
		return plainError(errno.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return plainError("closed the connection without an answer")
	}
	return plainError(printable(err.Error(), maxWords))
}

// printable is a stranger's text as it may stand in a log or on a terminal: one line of at most so many bytes.
func printable(text string, most int) string {
	more := ""
	if len(text) > most {
		text, more = text[:most], " …"
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '�'
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
	return strings.Join(strings.Fields(text), " ") + more
}
