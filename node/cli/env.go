package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"tripod/node/etcd"
	"tripod/tls"
)

type envCmd struct {
	access
	output
}

// Run prints what etcdctl needs to talk to this cluster.
func (c *envCmd) Run(ctx context.Context, t *terminal) error {
	if c.Node != "" {
		return errors.New("tripod env names files of a node on this machine: run it where a node runs, without --node")
	}
	client, folder, err := c.connectLocal(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	report, err := client.Report(ctx)
	if err != nil {
		return err
	}
	voters, err := etcd.ParseVoters(report.Voters)
	if err != nil {
		return err
	}
	// The node that was asked goes first: etcdctl prefers it.
	endpoints := []string{"https://" + report.HostPort(etcd.ClientPort)}
	for _, v := range voters {
		if v != report.Voter {
			endpoints = append(endpoints, "https://"+v.HostPort(etcd.ClientPort))
		}
	}
	variables := [][2]string{
		{"ETCDCTL_ENDPOINTS", strings.Join(endpoints, ",")},
		{"ETCDCTL_CACERT", filepath.Join(folder, "tls", tls.CAFile)},
		{"ETCDCTL_CERT", filepath.Join(folder, "tls", tls.CertFile)},
		{"ETCDCTL_KEY", filepath.Join(folder, "tls", tls.KeyFile)},
	}
	if c.json() {
		all := map[string]string{}
		for _, v := range variables {
			all[v[0]] = v[1]
		}
		return writeJSON(t.out, all)
	}
	for _, v := range variables {
		fmt.Fprintf(t.out, "export %s=%s\n", v[0], quote(v[1]))
	}
	return nil
}

// quote makes a text one word of a shell (POSIX Shell Command Language, 2.2.2).
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
