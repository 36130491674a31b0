package lock_test

import (
	"os"
	"testing"

	"tripod/testcluster"
)

func TestMain(m *testing.M) {
	if order := os.Getenv(workerVariable); order != "" {
		os.Exit(work(order))
	}
	testcluster.Main(m)
}
