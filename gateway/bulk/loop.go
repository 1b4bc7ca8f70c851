package bulk

import (
	"context"
	"time"
)

// loop steps until ctx ends: again at once while there is work, and after idle, or when woken, when there is none or a
// step failed. Nobody wakes it where wake is nil.
func loop(ctx context.Context, wake <-chan struct{}, idle time.Duration, step func(context.Context) (worked bool, err error), failed func(error)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		worked, err := step(ctx)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		if worked && err == nil {
			timer.Reset(0)
		} else {
			timer.Reset(idle)
		}
	}
}
