package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
)

// statistics keeps the planner's up to date while a database grows. PostgreSQL does so itself, a minute or more after a
// load; until then it takes every table for empty and joins them row by row, which a chained search over a few
// thousand records does not survive. The tables are analyzed whenever about four times as much has been written as
// when they were last.
type statistics struct {
	mu      sync.Mutex
	written int64 // values bound by writes of this process
	next    int64 // and at how many the tables are analyzed
	due     chan struct{}
	done    chan struct{}
	cancel  context.CancelFunc
}

// firstAnalyze is about the values of a thousand records.
const firstAnalyze = 20_000

func (s *statistics) start(pool *pgxpool.Pool) {
	ctx, cancel := context.WithCancel(context.Background())
	s.next, s.due, s.done, s.cancel = firstAnalyze, make(chan struct{}, 1), make(chan struct{}), cancel
	go func() {
		defer close(s.done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.due:
				if _, err := pool.Exec(ctx, "ANALYZE res, res_also, body, idx_token, idx_ref, idx_uri, idx_date, idx_number, idx_string, idx_element, grants, patient_state, patient_segment"); err != nil {
					s.again() // plans stay as they are until it succeeds
				}
			}
		}
	}()
}

func (s *statistics) stop() {
	s.cancel()
	<-s.done
}

// wrote notes a committed write.
func (s *statistics) wrote(values int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written += values; s.written < s.next {
		return
	}
	s.next = 4 * s.written
	select {
	case s.due <- struct{}{}:
	default: // it is about to be done
	}
}

// again lets the next write ask once more.
func (s *statistics) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = s.written
}
