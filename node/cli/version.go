package cli

import (
	"fmt"
	"runtime/debug"
)

// release is the version of the source; a build from version control adds the commit.
const release = "0.1.0"

type versionCmd struct{}

// Run prints the version.
func (c *versionCmd) Run(t *terminal) error {
	_, err := fmt.Fprintln(t.out, "tripod", version())
	return err
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}
