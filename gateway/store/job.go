package store

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"trellis/gateway/audit"
)

// The states of a job. A removed one is gone for its client and is cleared away in the background.
const (
	JobRunning = "running"
	JobDone    = "done"
	JobFailed  = "failed"
	jobRemoved = "removed"
)

// Errors of jobs.
var (
	ErrJobs  = errors.New("store: the client has too many jobs running")
	ErrLease = errors.New("store: the work is no longer this worker's")
)

// Job is one piece of bulk work of a client. Spec and Progress are its owner's to read.
type Job struct {
	ID, Client, State       string
	Created, Ended, Expires time.Time // Ended and Expires are zero while it runs
	Spec, Progress          []byte
}

// Chunk is a stretch of lines of a job's file. Keys has the row key of each line's resource, 0 for a line about none.
type Chunk struct {
	File, No int
	Keys     []int64
	Lines    []byte
}

// JobPage is what one step of a job makes durable, all at once. With another State than JobRunning the job ends and is
// kept until Life is over.
type JobPage struct {
	State    string
	Progress []byte
	Leaves   []audit.Leaf
	Chunks   []Chunk
	Life     time.Duration
	Incident *Incident // to be drafted with the page; nil for none
}

const jobColumns = "job,client,state,created,ended,expires,spec,progress"

// StartJob keeps a new job unless its client has limit of them running already: then it is ErrJobs.
func (s *Store) StartJob(ctx context.Context, j Job, limit int) error {
	return s.write(ctx, func(w *writer) error {
		// The client's row is locked, so that two requests at once cannot both be the last one allowed.
		if _, err := w.tx.Exec(ctx, "UPDATE client SET id=id WHERE id=?", j.Client); err != nil {
			return err
		}
		var n int64
		if _, err := one(ctx, w.tx, "SELECT COUNT(*) FROM bulk_job WHERE client=? AND state=?", []any{j.Client, JobRunning}, &n); err != nil {
			return err
		}
		if n >= int64(limit) {
			return ErrJobs
		}
		_, err := w.tx.Exec(ctx, "INSERT INTO bulk_job ("+jobColumns+",holder,lease,touched) VALUES (?,?,?,?,0,0,?,?,'',0,?)",
			j.ID, j.Client, JobRunning, w.now, j.Spec, j.Progress, w.now)
		return err
	})
}

// ReadJob finds a job of a client. Another client's, a removed and an expired one are ErrNotFound.
func (s *Store) ReadJob(ctx context.Context, id, client string) (Job, error) {
	now, err := s.now(ctx)
	if err != nil {
		return Job{}, err
	}
	var j Job
	err = s.engine.Read(ctx, func(tx Tx) error {
		j, err = readJob(ctx, tx, "job=? AND client=? AND state<>? AND (expires=0 OR expires>?)", id, client, jobRemoved, now)
		return err
	})
	return j, err
}

func readJob(ctx context.Context, tx Tx, where string, args ...any) (Job, error) {
	var j Job
	var created, ended, expires int64
	found, err := one(ctx, tx, "SELECT "+jobColumns+" FROM bulk_job WHERE "+where, args, &j.ID, &j.Client, &j.State, &created, &ended, &expires, &j.Spec, &j.Progress)
	if err == nil && !found {
		err = ErrNotFound
	}
	for _, t := range []struct {
		at *time.Time
		n  int64
	}{{&j.Created, created}, {&j.Ended, ended}, {&j.Expires, expires}} {
		if t.n != 0 {
			*t.at = time.UnixMicro(t.n).UTC()
		}
	}
	return j, err
}

// ClaimJob takes the running job that has waited longest and that nobody works on, for a time. ok is false when there
// is none. A worker may claim a job it holds again.
func (s *Store) ClaimJob(ctx context.Context, holder string, lease time.Duration) (j Job, ok bool, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return j, false, err
	}
	const free = "state=? AND (holder=? OR lease<?)" // of a running job: expires is 0
	waiting := false
	err = s.engine.Read(ctx, func(tx Tx) error { // an idle worker writes nothing
		var n int64
		waiting, err = one(ctx, tx, "SELECT 1 FROM bulk_job WHERE "+free+" LIMIT 1", []any{JobRunning, holder, now}, &n)
		return err
	})
	if err != nil || !waiting {
		return j, false, err
	}
	err = s.engine.Write(ctx, func(tx Tx) error {
		ok = false
		j, err = readJob(ctx, tx, free+" ORDER BY touched,job LIMIT 1", JobRunning, holder, now)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := tx.Exec(ctx, "UPDATE bulk_job SET holder=?,lease=? WHERE job=? AND "+free,
			holder, now+lease.Microseconds(), j.ID, JobRunning, holder, now)
		if err != nil || n == 0 {
			return err
		}
		// Whoever held it before may have saved a page between the two statements.
		j, err = readJob(ctx, tx, "job=?", j.ID)
		ok = err == nil
		return err
	})
	return j, ok, err
}

// SaveJob makes a page durable, while the worker still holds the job; else it is ErrLease and nothing is kept. The
// page's audit leaves are durable with its bytes or not at all.
func (s *Store) SaveJob(ctx context.Context, id, holder string, lease time.Duration, p JobPage) error {
	return s.write(ctx, func(w *writer) error {
		ended, expires := int64(0), int64(0)
		if p.State != JobRunning {
			ended, expires = w.now, w.now+p.Life.Microseconds()
		}
		n, err := w.tx.Exec(ctx, "UPDATE bulk_job SET state=?,progress=?,lease=?,touched=?,ended=?,expires=? WHERE job=? AND holder=? AND state=?",
			p.State, p.Progress, w.now+lease.Microseconds(), w.now, ended, expires, id, holder, JobRunning)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrLease
		}
		for _, c := range p.Chunks {
			if err := w.saveChunk(id, c); err != nil {
				return err
			}
		}
		if err := w.insertLeaves(p.Leaves); err != nil {
			return errors.Join(ErrLog, err)
		}
		if p.Incident != nil {
			return w.draftIncident(*p.Incident)
		}
		return nil
	})
}

func (w *writer) saveChunk(job string, c Chunk) error {
	keys := make([]byte, 0, 4*len(c.Keys))
	last := int64(0)
	for _, k := range c.Keys {
		keys = binary.AppendVarint(keys, k-last)
		last = k
	}
	doc := w.s.zstdEnc.EncodeAll(c.Lines, make([]byte, 0, len(c.Lines)/4))
	return w.tx.Queue(w.ctx, "INSERT INTO bulk_chunk (job,file,no,n,keys,doc) VALUES (?,?,?,?,?,?)", job, c.File, c.No, len(c.Keys), keys, doc)
}

// ReadChunk reads a chunk of a job's file; found is false behind the last one.
func (s *Store) ReadChunk(ctx context.Context, job string, file, no int) (c Chunk, found bool, err error) {
	c.File, c.No = file, no
	var keys, doc []byte
	var rows int64
	err = s.engine.Read(ctx, func(tx Tx) error {
		found, err = one(ctx, tx, "SELECT n,keys,doc FROM bulk_chunk WHERE job=? AND file=? AND no=?", []any{job, file, no}, &rows, &keys, &doc)
		return err
	})
	if err != nil || !found {
		return c, false, err
	}
	if c.Lines, err = s.zstdDec.DecodeAll(doc, nil); err != nil {
		return c, false, errBody
	}
	last := int64(0)
	for range rows {
		d, n := binary.Varint(keys)
		if n <= 0 {
			return c, false, errBody
		}
		keys, last = keys[n:], last+d
		c.Keys = append(c.Keys, last)
	}
	return c, true, nil
}

// RemoveJob ends a client's job, running or not: from now on it is not found, by anyone.
func (s *Store) RemoveJob(ctx context.Context, id, client string) error {
	return s.write(ctx, func(w *writer) error {
		n, err := w.tx.Exec(ctx, "UPDATE bulk_job SET state=?,holder='',expires=? WHERE job=? AND client=? AND state<>? AND (expires=0 OR expires>?)",
			jobRemoved, w.now, id, client, jobRemoved, w.now)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// sweepChunks is how many chunks one transaction clears away: other writers wait no longer than for that.
const sweepChunks = 64

// SweepJobs clears some of what removed and expired jobs left away and reports whether there is more.
func (s *Store) SweepJobs(ctx context.Context) (more bool, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return false, err
	}
	var id string
	err = s.engine.Read(ctx, func(tx Tx) error {
		more, err = one(ctx, tx, "SELECT job FROM bulk_job WHERE expires>0 AND expires<=? LIMIT 1", []any{now}, &id)
		return err
	})
	if err != nil || !more {
		return false, err
	}
	return true, s.engine.Write(ctx, func(tx Tx) error {
		var keys [][2]int64
		err := each(ctx, tx, "SELECT file,no FROM bulk_chunk WHERE job=? LIMIT ?", []any{id, sweepChunks}, func(r Rows) error {
			var k [2]int64
			err := r.Scan(&k[0], &k[1])
			keys = append(keys, k)
			return err
		})
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := tx.Queue(ctx, "DELETE FROM bulk_chunk WHERE job=? AND file=? AND no=?", id, k[0], k[1]); err != nil {
				return err
			}
		}
		if len(keys) == 0 {
			_, err = tx.Exec(ctx, "DELETE FROM bulk_job WHERE job=?", id)
		}
		return err
	})
}
