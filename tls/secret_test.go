package tls

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	oneSecret   = "correct horse battery staple"
	otherSecret = "incorrect horse battery staple"
)

func mustSecret(t testing.TB, text string) Secret {
	t.Helper()
	secret, err := ParseSecret([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestParseSecret(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":       {" \n\t", "it is empty"},
		"short":       {"fifteen letters", "15 characters, at least 16"},
		"short runes": {"äöüäöüäöüä", "10 characters"},
		"long":        {strings.Repeat("x", 4097), "more than 4096 bytes"},
		"lines":       {"vips:\n  - address: 10.0.0.1/24\n", "several lines"},
		"binary":      {"0123456789abcdef\x00", "byte 17 is not printable"},
		"not UTF-8":   {"0123456789abcdef\xff", "byte 17 is not printable"},
	} {
		_, err := ParseSecret([]byte(c.text))
		if !errors.Is(err, ErrBadSecret) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, text := range []string{"sixteen letters!", "äöüßäöüßäöüßäöüß", strings.Repeat("x", 4096), NewSecret()} {
		if _, err := ParseSecret([]byte(text)); err != nil {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if a, b := NewSecret(), NewSecret(); a == b || len(a) != 43 || strings.ContainsAny(a, "\n+/=") {
		t.Errorf("new secrets %q and %q", a, b)
	}
}

func TestReadSecret(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "secret")
	if _, err := ReadSecret(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "tripod secret new > "+path) {
		t.Errorf("missing: %v", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("short\n")
	if _, err := ReadSecret(path); !errors.Is(err, ErrBadSecret) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "tripod secret new") {
		t.Errorf("short: %v", err)
	}
	write(strings.Repeat(oneSecret, 10000))
	if _, err := ReadSecret(path); !errors.Is(err, ErrBadSecret) {
		t.Errorf("huge: %v", err)
	}
	if _, err := ReadSecret(folder); err == nil {
		t.Error("a folder was read")
	}
	write("\r\n " + oneSecret + "\r\n")
	secret, err := ReadSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	if secret.Fingerprint() != mustSecret(t, oneSecret).Fingerprint() {
		t.Error("white space around the secret matters")
	}
}

// Every node and every later version must derive the same from a secret: these values may never change.
func TestSecretDerivation(t *testing.T) {
	secret := mustSecret(t, oneSecret)
	if got := secret.Fingerprint(); got != "69920210" {
		t.Errorf("fingerprint %s", got)
	}
	if got := fmt.Sprintf("%x", secret.Token("etcd")[:8]); got != "8c5740a2486863ca" {
		t.Errorf("token %s", got)
	}
	if bytes.Equal(secret.Token("etcd"), secret.Token("cookies")) {
		t.Error("labels make no difference")
	}
	a, b := secret.Authority(), mustSecret(t, oneSecret+"\n").Authority()
	if !bytes.Equal(a.CAPEM(), b.CAPEM()) {
		t.Error("two nodes derive different authorities")
	}
	if bytes.Equal(a.CAPEM(), mustSecret(t, otherSecret).Authority().CAPEM()) {
		t.Error("two secrets derive one authority")
	}
	if got := fmt.Sprintf("%x", a.key.Seed()[:8]); got != "a777e8f1db712156" {
		t.Errorf("authority key %s", got)
	}
	if got := a.cert.Subject.CommonName; got != "tripod cluster 69920210" {
		t.Errorf("subject %q", got)
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	secret := mustSecret(t, oneSecret)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", secret)
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s %x %q", secret, secret, secret, secret, secret, secret), fmt.Sprintf("%v", struct{ S Secret }{secret}), log.String()} {
		if strings.Contains(text, "horse") || strings.Contains(text, fmt.Sprintf("%x", secret.prk)[:12]) || !strings.Contains(text, "secret(69920210)") {
			t.Errorf("prints as %s", text)
		}
	}
	if got := fmt.Sprint(Secret{}); got != "secret(none)" {
		t.Errorf("zero secret prints as %s", got)
	}
}
