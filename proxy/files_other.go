//go:build !unix

package proxy

// openFileLimit is not known here.
func openFileLimit() int64 { return defaultFiles }
