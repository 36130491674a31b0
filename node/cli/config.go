package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"

	"tripod/node/api"
	"tripod/node/config"
)

type configCmd struct {
	Check    configCheckCmd    `cmd:"" help:"Check a document; needs no node."`
	Apply    configApplyCmd    `cmd:"" help:"Make a document the cluster's, and wait until every live node serves it."`
	Get      configGetCmd      `cmd:"" help:"Print the document as it was written."`
	Edit     configEditCmd     `cmd:"" help:"Edit the document in $EDITOR and apply it."`
	Diff     configDiffCmd     `cmd:"" help:"Show what changed between an earlier document and the present one."`
	History  configHistoryCmd  `cmd:"" help:"List the documents that are kept, newest first."`
	Rollback configRollbackCmd `cmd:"" help:"Apply an earlier document again."`
	Schema   configSchemaCmd   `cmd:"" help:"Print the JSON Schema of the document, for editors."`
}

// readDocument reads a file, or standard input for "-", no further than the limit.
func readDocument(file string, stdin io.Reader) (string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("read document: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, config.MaxSize+1))
	if err != nil {
		return "", fmt.Errorf("read document: %w", err)
	}
	return string(text), nil
}

// nameOf is what messages call the document.
func nameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

// author is who changes a document: user@host.
func author() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" {
		name = sudo
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// applyFlags are common to the commands that change the document.
type applyFlags struct {
	Message string `short:"m" help:"What the change is for; kept in the history."`
	output
}

// apply sends a document and reports what became of it.
func (f applyFlags) apply(ctx context.Context, t *terminal, client *api.Client, request api.ApplyRequest) error {
	request.Author = author()
	if request.Message == "" {
		request.Message = f.Message
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := client.Apply(ctx, request)
	if err != nil {
		return err
	}
	if f.json() {
		if err := writeJSON(t.out, reply); err != nil {
			return err
		}
	} else {
		writeApplied(t, request, reply)
	}
	switch {
	case request.DryRun:
		return nil
	case len(reply.Missing) > 0:
		return &exitError{code: exitPartial} // said already
	case len(reply.Served) == 0:
		return &exitError{code: exitPartial, message: fmt.Sprintf("revision %d is stored, and no live node says that it serves it: see tripod status", reply.Revision)}
	}
	return nil
}

func writeApplied(t *terminal, request api.ApplyRequest, reply api.ApplyReply) {
	fmt.Fprint(t.out, reply.Diff)
	for _, w := range reply.Warnings {
		fmt.Fprintln(t.err, "warning:", w)
	}
	switch {
	case request.DryRun:
		fmt.Fprintln(t.out, "dry run: nothing was changed")
		return
	case reply.Unchanged:
		fmt.Fprintf(t.out, "no change: revision %d is this document", reply.Revision)
	default:
		fmt.Fprintf(t.out, "revision %d", reply.Revision)
	}
	if len(reply.Served) > 0 {
		fmt.Fprintf(t.out, ", served by %s", strings.Join(reply.Served, ", "))
	}
	fmt.Fprintln(t.out)
	for _, m := range reply.Missing {
		fmt.Fprintf(t.err, "tripod: node %s does not serve it: %s\n", m.Node, m.Why)
	}
}

// current is the document of now; the zero Version if there is none.
func current(ctx context.Context, client *api.Client) (config.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	v, err := client.Document(ctx)
	var failure *api.Failure
	if errors.As(err, &failure) && failure.Status == http.StatusNotFound {
		return config.Version{}, nil
	}
	return v, err
}
