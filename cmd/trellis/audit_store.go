package main

import "context"

// openAuditLog opens the audit log of an installation.
func openAuditLog(ctx context.Context, where location) (*auditLog, error) {
	s, err := where.openTool(ctx)
	if err != nil {
		return nil, err
	}
	log := s.Audit()
	return &auditLog{Store: log, Origin: auditOrigin, Append: log.Append, Close: s.Close}, nil
}
