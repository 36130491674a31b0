package cli

import (
	"context"
	"io"
	"net/http"

	"tripod/node/api"
)

type configGetCmd struct {
	Revision int64 `help:"An earlier revision, from the history." placeholder:"N"`
	output
	access
}

// Run prints the document, byte for byte.
func (c *configGetCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	v, err := current(ctx, client)
	if c.Revision != 0 && c.Revision != v.Revision {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		v, err = client.DocumentAt(call, c.Revision)
	}
	if err != nil {
		return err
	}
	if v.Revision == 0 {
		return &api.Failure{Status: http.StatusNotFound, Message: "there is no document yet: tripod config apply FILE makes the first"}
	}
	if c.json() {
		return writeJSON(t.out, v)
	}
	_, err = io.WriteString(t.out, v.Text)
	return err
}
