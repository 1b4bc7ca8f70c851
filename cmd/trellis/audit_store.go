package main

import (
	"context"
	"errors"
)

// openAuditLog opens the audit log of an installation.
func openAuditLog(context.Context, string) (*auditLog, error) {
	return nil, errors.New("this build has no store")
}
