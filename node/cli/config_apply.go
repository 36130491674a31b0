package cli

import (
	"context"

	"tripod/node/api"
)

type configApplyCmd struct {
	File       string `arg:"" help:"The document, or - for standard input."`
	IfRevision *int64 `help:"Apply only if this is still the present revision (0: only if there is no document)." placeholder:"N"`
	DryRun     bool   `help:"Check and show the difference; change nothing."`
	applyFlags
	access
}

// Run applies a document.
func (c *configApplyCmd) Run(ctx context.Context, t *terminal) error {
	text, err := readDocument(c.File, t.in)
	if err != nil {
		return err
	}
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	return c.apply(ctx, t, client, api.ApplyRequest{
		File: nameOf(c.File), Text: text, IfRevision: c.IfRevision, DryRun: c.DryRun,
	})
}
