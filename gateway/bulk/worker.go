package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Jobs is where jobs and their files are kept; see store.Store.
type Jobs interface {
	ClaimJob(ctx context.Context, holder string, lease time.Duration) (store.Job, bool, error)
	SaveJob(ctx context.Context, id, holder string, lease time.Duration, p store.JobPage) error
	SweepJobs(ctx context.Context) (more bool, err error)
}

// Records is what a job reads.
type Records interface {
	SearchBounded(ctx context.Context, f access.Filter, q *search.Query, after *store.Position, maxBytes int) (store.Page, error)
	Deleted(ctx context.Context, f access.Filter, typ string, since time.Time, after int64, count int) ([]store.Row, int64, error)
	Of(ctx context.Context, rows []store.Row, patients map[string]bool) ([]store.Row, error)
	Overtaken(ctx context.Context, rows []store.Row) (bool, error)
}

// Actors is who a job works for, as it stands now.
type Actors interface {
	Organization(ctx context.Context, id string) (access.Organization, error)
	ClientRecord(ctx context.Context, id string) (store.ClientRecord, error)
	Filter(ctx context.Context, p access.Principal) (access.Filter, error)
	Now(ctx context.Context) (time.Time, error)
}

// Gate is the release gate for pages of lines.
type Gate interface {
	Lines(ctx context.Context, req release.Request, rows []store.Row, elements func(typ string) []string) (*release.Lines, error)
}

// Worker works on jobs, some pages at a time, whichever has waited longest. All fields but Wake and the limits are required.
type Worker struct {
	Jobs     Jobs
	Records  Records
	Actors   Actors
	Gate     Gate
	Registry *search.Registry
	Base     string
	Holder   string // unique to this process
	Logger   *slog.Logger
	// Wake says that a job was started in this process; one started in another is noticed a moment later.
	Wake <-chan struct{}

	// MassExport is from how many records on a job is drafted as an incident; 0 for never.
	MassExport int
	Pages      int           // most pages of a job before the next job's turn; 0 for 8
	PageRows   int           // most resources of a page; 0 for 1000
	PageBytes  int           // about the most bytes of stored bodies of a page; 0 for 2 MiB
	FileRows   int           // a file with more lines is followed by another; 0 for 100,000
	Lease      time.Duration // how long a job is nobody else's without progress; 0 for 15 s
	Life       time.Duration // how long the files of a job that ended are kept; 0 for an hour
	Ahead      time.Duration // how long rows that have been read may wait for the page before them; 0 for 1 s

	told  map[string]map[string]bool // by job: scopes its outcome file has already
	tries map[string]int             // by job: failures in a row
}

// maxTries is how often a page is tried before its job is given up; maxTold bounds what is remembered of a job.
const (
	maxTries = 5
	maxTold  = 10_000
)

func or[T int | time.Duration](given, otherwise T) T {
	if given > 0 {
		return given
	}
	return otherwise
}

// Run works until ctx ends: on jobs as long as there are any, then looking for new ones a few times a second.
func (w *Worker) Run(ctx context.Context) {
	sweeps := 0
	step := func(ctx context.Context) (worked bool, err error) {
		if worked, err = w.Step(ctx); !worked {
			if sweeps++; sweeps%50 == 1 {
				worked = w.sweep(ctx)
			}
		}
		return worked, err
	}
	loop(ctx, w.Wake, 200*time.Millisecond, step, func(err error) { w.Logger.ErrorContext(ctx, "bulk work failed", "error_type", err) })
}

// sweep clears away files nobody can ask for any more.
func (w *Worker) sweep(ctx context.Context) (more bool) {
	for {
		more, err := w.Jobs.SweepJobs(ctx)
		if err != nil && ctx.Err() == nil {
			w.Logger.ErrorContext(ctx, "bulk files could not be removed", "error_type", err)
		}
		if err != nil || !more {
			return false
		}
	}
}

// Step makes the next pages of one job, each durable by itself. worked is false when there is no job.
func (w *Worker) Step(ctx context.Context) (worked bool, err error) {
	lease := or(w.Lease, 15*time.Second)
	job, ok, err := w.Jobs.ClaimJob(ctx, w.Holder, lease)
	if err != nil || !ok {
		return false, err
	}
	err = w.work(ctx, &job, lease)
	switch {
	case errors.Is(err, store.ErrLease): // cancelled, or another worker's by now
		w.forget(job.ID)
		return true, nil
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, err
	}
	return true, errors.Join(err, w.failed(ctx, job, lease, err))
}

// work makes pages of a job until it ends or it is another's turn. While a page is decided and made durable, the rows of
// the next one are read.
func (w *Worker) work(ctx context.Context, job *store.Job, lease time.Duration) error {
	spec, err := ReadSpec(*job)
	if err != nil {
		return err
	}
	progress, err := ReadProgress(*job)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	next := w.ahead(ctx, *job, &spec, progress.Place)
	defer func() { stop(); next.wait() }()
	for n := or(w.Pages, 8); job.State == store.JobRunning && n > 0; n-- {
		read := next.wait()
		if read.err != nil {
			return read.err
		}
		req, err := w.request(ctx, *job, spec)
		if err != nil {
			return err
		}
		// What held when the rows were read may not hold now.
		overtaken, err := w.Records.Overtaken(ctx, read.rows)
		if err != nil {
			return err
		}
		if overtaken || time.Since(read.ready) > or(w.Ahead, time.Second) {
			if read = w.gather(ctx, *job, &spec, progress.Place); read.err != nil {
				return read.err
			}
		}
		if n > 1 && read.end.Step < spec.steps() {
			next = w.ahead(ctx, *job, &spec, read.end)
		}
		page, err := w.page(ctx, *job, &spec, &progress, req, read)
		if err == nil {
			err = w.Jobs.SaveJob(ctx, job.ID, w.Holder, lease, page)
		}
		if err != nil {
			return err
		}
		job.State, job.Progress = page.State, page.Progress
		delete(w.tries, job.ID)
	}
	if job.State != store.JobRunning {
		w.forget(job.ID)
	}
	return nil
}

// failed counts a page that could not be made. What no repetition mends, or not after some, ends the job; while the
// log cannot be written the job waits.
func (w *Worker) failed(ctx context.Context, job store.Job, lease time.Duration, cause error) error {
	delete(w.told, job.ID) // what the page would have told is told again
	if w.tries == nil {
		w.tries = map[string]int{}
	}
	if w.tries[job.ID]++; errors.Is(cause, store.ErrBusy) || errors.Is(cause, store.ErrLog) {
		w.tries[job.ID]--
	}
	fault := "the export failed; start it again"
	var p *fhir.Problem
	if errors.As(cause, &p) && p.Category != fhir.Internal {
		fault = p.Error()
	} else if w.tries[job.ID] < maxTries {
		return nil
	}
	progress, err := ReadProgress(job)
	if err != nil {
		progress = Progress{}
	}
	progress.Fault = fault
	kept, err := json.Marshal(progress)
	if err != nil {
		return err
	}
	w.forget(job.ID)
	return w.Jobs.SaveJob(ctx, job.ID, w.Holder, lease, store.JobPage{State: store.JobFailed, Progress: kept, Life: w.life()})
}

func (w *Worker) life() time.Duration { return or(w.Life, time.Hour) }

func (w *Worker) forget(job string) {
	delete(w.told, job)
	delete(w.tries, job)
}

// request is who a job asks as. Organisation, client and segments are read anew when a page is read and when it is decided
// about: whoever lost its registration, or whose registration is disabled, gets no further one.
func (w *Worker) request(ctx context.Context, job store.Job, spec Spec) (release.Request, error) {
	client, err := w.Actors.ClientRecord(ctx, job.Client)
	if errors.Is(err, oauth.ErrNotFound) || client.OAuth.Disabled {
		return release.Request{}, fhir.NewProblem(fhir.Forbidden, "forbidden", "the client is no longer registered, or disabled")
	}
	if err != nil {
		return release.Request{}, err
	}
	org, err := w.Actors.Organization(ctx, spec.Organization)
	if err != nil {
		return release.Request{}, err
	}
	p := access.Principal{Client: job.Client, Organization: org, Purpose: spec.Purpose}
	filter, err := w.Actors.Filter(ctx, p)
	return release.Request{Principal: p, Filter: filter, Interaction: spec.Level, RequestID: spec.Request, TokenID: spec.Token, Query: spec.Query}, err
}
