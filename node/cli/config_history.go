package cli

import (
	"context"
	"fmt"
	"time"

	"tripod/node/api"
	"tripod/node/config"
)

type configHistoryCmd struct {
	output
	access
}

// Run lists the documents that are kept.
func (c *configHistoryCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	history, err := client.History(ctx)
	if err != nil {
		return err
	}
	if c.json() {
		return writeJSON(t.out, history)
	}
	rows := [][]string{{"REVISION", "TIME", "AUTHOR", "MESSAGE"}}
	for _, v := range history {
		rows = append(rows, []string{fmt.Sprint(v.Revision), v.Time.Local().Format(time.DateTime), v.Author, v.Message})
	}
	return writeTable(t.out, rows)
}

type configDiffCmd struct {
	Revision int64 `arg:"" optional:"" help:"The earlier revision (default: the one before the present)."`
	access
}

// Run shows the difference between an earlier document and the present one.
func (c *configDiffCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	now, err := current(ctx, client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if c.Revision == 0 {
		history, err := client.History(ctx)
		if err != nil {
			return err
		}
		for _, v := range history {
			if v.Revision < now.Revision {
				c.Revision = v.Revision
				break
			}
		}
	}
	var then config.Version
	if c.Revision != 0 {
		if then, err = client.DocumentAt(ctx, c.Revision); err != nil {
			return err
		}
	}
	fmt.Fprint(t.out, config.Diff(fmt.Sprintf("revision %d", then.Revision), fmt.Sprintf("revision %d", now.Revision),
		[]byte(then.Text), []byte(now.Text)))
	return nil
}

type configRollbackCmd struct {
	Revision int64 `arg:"" help:"The revision whose document is applied again."`
	applyFlags
	access
}

// Run applies an earlier document again.
func (c *configRollbackCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	now, err := current(ctx, client)
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	then, err := client.DocumentAt(call, c.Revision)
	if err != nil {
		return err
	}
	message := fmt.Sprintf("rollback to revision %d", c.Revision)
	if c.Message != "" {
		message += ": " + c.Message
	}
	return c.apply(ctx, t, client, api.ApplyRequest{
		File: fmt.Sprintf("revision %d", c.Revision), Text: then.Text, Message: message, IfRevision: &now.Revision,
	})
}

type configSchemaCmd struct{}

// Run prints the JSON Schema.
func (c *configSchemaCmd) Run(t *terminal) error {
	_, err := t.out.Write(config.Schema())
	return err
}
