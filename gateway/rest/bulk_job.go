package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/bulk"
	"trellis/gateway/store"
)

// job finds the job in the path for its own client; for any other there is none. A token that may search no type at
// all, or that is a person's, is told no more than that (G1).
func (k *call) job() (store.Job, error) {
	searches := func(typ string) bool { return k.caller.reach.mayAsSystem(typ, smart.Search) }
	if !slices.ContainsFunc(fhir.Types(), searches) {
		return store.Job{}, forbidden()
	}
	return k.s.Store.ReadJob(k.ctx, k.c.Param("job"), k.caller.principal.Client)
}

// bulkStatus serves a status request (https://hl7.org/fhir/uv/bulkdata/STU2/export.html#bulk-data-status-request).
func (k *call) bulkStatus() error {
	job, err := k.job()
	if err != nil {
		return err
	}
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return err
	}
	if wait := k.s.polls.take(job.ID, now); wait > 0 {
		return k.tooMany(wait, "the job is asked about too often")
	}
	progress, err := bulk.ReadProgress(job)
	if err != nil {
		return err
	}
	h := k.c.Writer.Header()
	switch job.State {
	case store.JobFailed:
		k.s.send(k.c, http.StatusInternalServerError, fhir.ContentType+"; charset=utf-8", fhir.Outcome("error", []fhir.Issue{{Code: "exception", Text: progress.Fault}}))
		return nil
	case store.JobDone:
		body, err := bulk.Manifest(job, k.jobURL(job.ID))
		if err != nil {
			return err
		}
		h.Set("Expires", job.Expires.UTC().Format(http.TimeFormat))
		k.s.send(k.c, http.StatusOK, "application/json", body)
		return nil
	}
	spec, err := bulk.ReadSpec(job)
	if err != nil {
		return err
	}
	h.Set("X-Progress", fmt.Sprintf("%d%%, %d resources", progress.Percent(spec), progress.Rows))
	h.Set("Retry-After", strconv.Itoa(pollSeconds))
	k.c.Status(http.StatusAccepted)
	k.c.Writer.WriteHeaderNow()
	return nil
}

// bulkCancel serves a delete request: a running job ends, and its files are gone.
func (k *call) bulkCancel() error {
	job, err := k.job()
	if err != nil {
		return err
	}
	if err := k.s.Store.RemoveJob(k.ctx, job.ID, job.Client); err != nil {
		return err
	}
	k.c.Status(http.StatusAccepted)
	k.c.Writer.WriteHeaderNow()
	return nil
}

// bulkFile serves a file of a job that is done. Lines stand as they were released, but those about records the caller
// may no longer see are left out: a consent revoked since holds for files too.
func (k *call) bulkFile() error {
	job, err := k.job()
	if err != nil {
		return err
	}
	progress, err := bulk.ReadProgress(job)
	if err != nil {
		return err
	}
	name := k.c.Param("file")
	no, err := strconv.Atoi(strings.TrimSuffix(name, ".ndjson"))
	if err != nil || job.State != store.JobDone || no < 0 || no >= len(progress.Files) || name != bulk.FileName(no) {
		return store.ErrNotFound
	}
	if err := k.reachesFile(job, progress.Files[no]); err != nil {
		return err
	}
	if err := k.s.Gate.Fetched(k.ctx, k.req, map[string]string{"job": job.ID, "file": name}); err != nil {
		return err
	}
	h := k.c.Writer.Header()
	h.Set("Content-Type", "application/fhir+ndjson")
	h.Set("Content-Disposition", "attachment")
	h.Set("Expires", job.Expires.UTC().Format(http.TimeFormat))
	k.c.Status(http.StatusOK)
	return k.stream(job.ID, no, progress.Files[no].Chunks)
}

// reachesFile is G1 for a file: today's token must reach its type, or for what is of no type those of the job.
func (k *call) reachesFile(job store.Job, f bulk.File) error {
	types := []string{f.Type}
	if f.Type == "Bundle" || f.Type == "OperationOutcome" {
		spec, err := bulk.ReadSpec(job)
		if err != nil {
			return err
		}
		types = spec.Types
	}
	for _, typ := range types {
		if err := k.allowAsSystem(typ, smart.Read|smart.Search); err != nil {
			return err
		}
	}
	return nil
}

// chunkTime is how long sending one chunk may take; the request as a whole has no limit but the file's length.
const chunkTime = time.Minute

// stream sends a file chunk by chunk. Once it has begun a fault cannot be told by a status: the connection is cut, so
// that nobody takes a part for the whole.
func (k *call) stream(job string, file, chunks int) error {
	ctx := context.WithoutCancel(k.ctx)
	control := http.NewResponseController(k.c.Writer)
	for no := range chunks {
		chunk, found, err := k.s.Store.ReadChunk(ctx, job, file, no)
		var body []byte
		if err == nil && found {
			body, err = k.visibleLines(ctx, chunk)
		}
		if err == nil && !found {
			err = store.ErrNotFound // removed meanwhile
		}
		if err == nil {
			err = control.SetWriteDeadline(time.Now().Add(chunkTime))
		}
		if err != nil && no == 0 {
			return err
		}
		if err == nil {
			_, err = k.c.Writer.Write(body)
		}
		if err != nil {
			k.s.Logger.InfoContext(ctx, "a bulk file was not sent whole", "request", k.c.GetString(headerReqID), "error_type", err)
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}

// visibleLines is a chunk without the lines of records the caller may no longer see.
func (k *call) visibleLines(ctx context.Context, chunk store.Chunk) ([]byte, error) {
	keys := slices.DeleteFunc(slices.Clone(chunk.Keys), func(key int64) bool { return key == 0 })
	seen, err := k.s.Store.StillVisible(ctx, k.caller.reading, keys)
	if err != nil {
		return nil, err
	}
	if len(seen) == len(keys) {
		return chunk.Lines, nil
	}
	out := make([]byte, 0, len(chunk.Lines))
	rest := chunk.Lines
	for _, key := range chunk.Keys {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		if rest = after; key == 0 || seen[key] {
			out = append(append(out, line...), '\n')
		}
	}
	return out, nil
}

// pollSeconds is how long a client is asked to wait between status requests; within pollWindow it may ask maxPolls times.
const (
	pollSeconds = 2
	pollWindow  = 10 * time.Second
	maxPolls    = 40
)

// polls counts status requests of each job in this process.
type polls struct {
	mu sync.Mutex
	m  map[string]pollCount
}

type pollCount struct {
	since time.Time
	n     int
}

// take counts a request and reports how many seconds the client must wait; 0 for none.
func (p *polls) take(job string, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil || len(p.m) > 1000 {
		p.m = map[string]pollCount{}
	}
	c := p.m[job]
	if now.Sub(c.since) >= pollWindow {
		c = pollCount{since: now}
	}
	c.n++
	p.m[job] = c
	if c.n <= maxPolls {
		return 0
	}
	return 1 + int(c.since.Add(pollWindow).Sub(now)/time.Second)
}
