package bulk

import (
	"context"
	"log/slog"
	"time"

	"trellis/auth/label"
)

// Labelled is what the relabeler drives; see store.Store.
type Labelled interface {
	Relabel(ctx context.Context, c *label.Classifier) (worked bool, err error)
}

// Relabeler does this process's share of labelling stored records anew after the rules changed. Records, Labels and Logger
// are required.
type Relabeler struct {
	Records Labelled
	Labels  *label.Classifier
	// Places takes over what changed about the places of Part 2 programs; nil where nothing can.
	Places func(ctx context.Context) error
	Logger *slog.Logger
}

// Step takes over what changed and labels one batch.
func (r *Relabeler) Step(ctx context.Context) (worked bool, err error) {
	if r.Places != nil {
		if err := r.Places(ctx); err != nil {
			return false, err
		}
	}
	return r.Records.Relabel(ctx, r.Labels)
}

// Run steps until ctx ends, every other second when there is nothing to do.
func (r *Relabeler) Run(ctx context.Context) {
	loop(ctx, nil, 2*time.Second, r.Step, func(err error) { r.Logger.ErrorContext(ctx, "labelling anew failed", "error_type", err) })
}
