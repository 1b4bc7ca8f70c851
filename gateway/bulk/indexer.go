package bulk

import (
	"context"
	"log/slog"
	"time"
)

// Parameters is what the indexer drives; see store.Store.
type Parameters interface {
	SyncParameters(ctx context.Context) error
	IndexParameters(ctx context.Context) (worked bool, err error)
}

// Indexer keeps this process's custom search parameters up to date and does its share of the index work they need.
// Both fields are required.
type Indexer struct {
	Parameters Parameters
	Logger     *slog.Logger
}

// Step takes over what changed and does one batch of work.
func (x *Indexer) Step(ctx context.Context) (worked bool, err error) {
	if err := x.Parameters.SyncParameters(ctx); err != nil {
		return false, err
	}
	return x.Parameters.IndexParameters(ctx)
}

// Run steps until ctx ends, a few times a second when there is nothing to do.
func (x *Indexer) Run(ctx context.Context) {
	loop(ctx, nil, 300*time.Millisecond, x.Step, func(err error) { x.Logger.ErrorContext(ctx, "index work failed", "error_type", err) })
}
