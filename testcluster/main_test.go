package testcluster_test

import (
	"testing"

	"tripod/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }
