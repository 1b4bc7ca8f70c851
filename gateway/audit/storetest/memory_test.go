package storetest_test

import (
	"testing"

	"trellis/gateway/audit/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Log { return &storetest.Memory{} })
}
