//go:build unix && !linux

package health

// awaitExit says that the system tells of no end without reaping.
func awaitExit(int) bool { return false }
