package cli

import (
	"context"
	"time"
)

type statusCmd struct {
	access
	output
}

// Run shows the cluster, and exits with 1 when something is wrong.
func (c *statusCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if c.json() {
		err = writeJSON(t.out, status)
	} else {
		status.WriteText(t.out, time.Now())
	}
	if err == nil && len(status.Problems) > 0 {
		return &exitError{code: exitFailed}
	}
	return err
}
