package bulk

import (
	"context"
	"testing"
	"time"
)

// TestLoopWakes: work that is announced is done without waiting for the next look.
func TestLoopWakes(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	wake, steps := make(chan struct{}, 1), 0
	step := func(context.Context) (bool, error) {
		if steps++; steps == 3 {
			stop()
			return false, nil
		}
		wake <- struct{}{}
		return false, nil
	}
	loop(ctx, wake, 24*time.Hour, step, func(err error) { t.Error(err) })
	if steps != 3 {
		t.Errorf("%d steps", steps)
	}
}
