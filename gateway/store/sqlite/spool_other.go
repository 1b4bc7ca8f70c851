//go:build !linux

package sqlite

import "trellis/gateway/store"

// spool is for systems with fdatasync and flock; elsewhere audit leaves go into the database at once.
type spool struct{ store.Spool }

func openSpool(string) (*spool, error) { return nil, nil }

func (*spool) close() error { return nil }
