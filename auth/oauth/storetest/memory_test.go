package storetest_test

import (
	"testing"

	"trellis/auth/oauth"
	"trellis/auth/oauth/storetest"
)

// Row 18 of the fosite facts: the store is one type held to one contract.
func TestRow18StoreContract(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, clients ...oauth.Client) oauth.Store {
		return storetest.NewMemory(clients...)
	})
}

func TestGrantsContract(t *testing.T) {
	storetest.RunGrants(t, func(*testing.T) storetest.Grants { return storetest.NewMemory() })
}
