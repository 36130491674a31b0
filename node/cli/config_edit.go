package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"tripod/node/api"
	"tripod/node/config"
)

type configEditCmd struct {
	applyFlags
	access
}

// Run fetches the document, edits it, and applies it if nobody else changed it meanwhile. What was typed is
// never lost: when it is not applied, the file stays and its name is printed.
func (c *configEditCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	before, err := current(ctx, client)
	if err != nil {
		return err
	}
	file, err := editFile(ctx, before.Text)
	if err != nil {
		return err
	}
	text, err := readDocument(file, nil)
	if err == nil && text == before.Text {
		fmt.Fprintln(t.out, "no change")
		return os.Remove(file)
	}
	if err == nil {
		_, err = config.Parse(file, []byte(text))
	}
	if err == nil {
		err = c.apply(ctx, t, client, api.ApplyRequest{File: file, Text: text, IfRevision: &before.Revision})
	}
	var partial *exitError
	if err == nil || errors.As(err, &partial) {
		return errors.Join(err, os.Remove(file))
	}
	return fmt.Errorf("%w\nyour text is kept in %s: mend it and run tripod config apply %s", err, file, file)
}

// editFile puts a text into a file and opens an editor on it.
func editFile(ctx context.Context, text string) (string, error) {
	f, err := os.CreateTemp("", "tripod-*.yaml")
	if err != nil {
		return "", fmt.Errorf("make file to edit: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write file to edit: %w", err)
	}
	editor := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	// The variable may hold arguments, as in "code --wait"; a shell splits them as everywhere else.
	command := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", f.Name())
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("editor %s: %w: nothing was changed; your text is in %s", editor, err, f.Name())
	}
	return f.Name(), nil
}
