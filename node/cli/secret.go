package cli

import (
	"fmt"

	"tripod/tls"
)

type secretCmd struct {
	New secretNewCmd `cmd:"" help:"Print a new cluster secret: tripod secret new > secret; chmod 600 secret."`
}

type secretNewCmd struct{}

// Run prints a new secret.
func (c *secretNewCmd) Run(t *terminal) error {
	_, err := fmt.Fprintln(t.out, tls.NewSecret())
	return err
}
