package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"tripod/node/etcd"
	"tripod/tls"
)

// LoadSecret finds the cluster's secret: given as text, in a file, or, for an all-loopback cluster, in the
// data folder, where the first node makes it.
func LoadSecret(text, file, data string, voters []etcd.Voter, log *slog.Logger) (tls.Secret, error) {
	switch {
	case text != "" && file != "":
		return tls.Secret{}, errors.New("both TRIPOD_SECRET and --secret-file are given: use one")
	case text != "":
		return tls.ParseSecret([]byte(text))
	case file != "":
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			log.Warn("others can read the secret: chmod 600 it", "file", file, "mode", info.Mode().Perm().String())
		}
		return tls.ReadSecret(file)
	case etcd.AllLoopback(voters):
		return sharedSecret(filepath.Join(data, "secret"))
	}
	return tls.Secret{}, errors.New("a cluster on a network needs a secret: tripod secret new > secret, copy it to all nodes, and start them with --secret-file secret")
}

// sharedSecret reads the secret of the clusters on this machine, or makes it. Several nodes may start at once:
// linking a complete file makes exactly one of them the author.
func sharedSecret(path string) (tls.Secret, error) {
	secret, err := tls.ReadSecret(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "secret.*")
	if err != nil {
		return tls.Secret{}, folderError(filepath.Dir(path), err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(tls.NewSecret() + "\n")
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return tls.Secret{}, fmt.Errorf("write secret: %w", err)
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return tls.Secret{}, fmt.Errorf("write secret: %w", err)
	}
	return tls.ReadSecret(path)
}
