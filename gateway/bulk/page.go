package bulk

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// page makes a page of a job from its rows, which are decided about now, and moves the progress behind them.
func (w *Worker) page(ctx context.Context, job store.Job, spec *Spec, progress *Progress, req release.Request, read reading) (store.JobPage, error) {
	var out store.JobPage
	if len(read.rows) > 0 {
		elements := func(typ string) []string { return slices.Concat(spec.Elements[typ], spec.Elements[""]) }
		lines, err := w.Gate.Lines(ctx, req, read.rows, elements)
		if err != nil {
			return out, err
		}
		out.Leaves = append(out.Leaves, lines.Leaf)
		before := progress.Rows
		out.Chunks = w.chunks(job, progress, lines)
		if out.Incident, err = w.incident(ctx, job, req, before, progress.Rows); err != nil {
			return out, err
		}
	}
	progress.Place = read.end
	out.State = store.JobRunning
	if progress.Step >= spec.steps() {
		out.State, out.Life = store.JobDone, w.life()
	}
	var err error
	out.Progress, err = json.Marshal(progress)
	return out, err
}

// incident drafts one when a job comes to hold more records than the deployment expects of an export. The export goes on: each of
// its records has a basis of its own.
func (w *Worker) incident(ctx context.Context, job store.Job, req release.Request, before, after int) (*store.Incident, error) {
	if w.MassExport <= 0 || before > w.MassExport || after <= w.MassExport {
		return nil, nil
	}
	now, err := w.Actors.Now(ctx)
	if err != nil {
		return nil, err
	}
	i := &store.Incident{ID: uuid.NewString(), Kind: store.MassExport, At: now, Client: job.Client, Organization: req.Principal.Organization.ID, Job: job.ID, Records: after}
	w.Logger.WarnContext(ctx, "mass export: an incident was drafted", "client", job.Client, "code", i.ID)
	return i, nil
}

// maxAsked bounds the queries of one page: a job about many patients without records must be seen to go on.
const maxAsked = 500

// reading is what a page is made from: the rows, and where the next page begins.
type reading struct {
	rows  []store.Row
	end   Place
	ready time.Time // when the last row had been read
	err   error
}

// gather reads rows from a place until a page is full or the job is at its end.
func (w *Worker) gather(ctx context.Context, job store.Job, spec *Spec, from Place) (out reading) {
	out.end = from
	req, err := w.request(ctx, job, *spec)
	if err != nil {
		out.err = err
		return out
	}
	most, bytes := or(w.PageRows, 1000), or(w.PageBytes, 2<<20)
	at := &out.end
	for n, asked := spec.steps(), 0; at.Step < n && len(out.rows) < most && asked < maxAsked; asked++ {
		st := spec.step(at.Step)
		found, next, err := w.read(ctx, spec, st, at.After, req, most-len(out.rows), bytes)
		if err != nil {
			out.err = err
			return out
		}
		size := 0
		for i := range found {
			size += len(found[i].Doc)
			if wanted(job, spec, st, &found[i]) {
				out.rows = append(out.rows, found[i])
			}
		}
		if at.After = next; next == nil {
			at.Step++
		}
		if bytes -= size / 4; bytes <= 0 { // bodies are kept compressed
			break
		}
	}
	out.ready = time.Now()
	return out
}

// ahead is rows that are being read.
type ahead struct {
	done chan struct{}
	read reading
}

func (w *Worker) ahead(ctx context.Context, job store.Job, spec *Spec, from Place) *ahead {
	a := &ahead{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.read = w.gather(ctx, job, spec, from)
	}()
	return a
}

func (a *ahead) wait() reading { <-a.done; return a.read }

// wanted leaves out what came into being after the job began, and from a job about patients what is about none.
func wanted(job store.Job, spec *Spec, st step, row *store.Row) bool {
	if spec.Level != System && !row.Filed() && !label.Directory(row.Type) {
		return false
	}
	return st.gone || row.Version != 1 || !row.Updated.After(job.Created)
}

// read reads a page of one step; next is nil when the step is done.
func (w *Worker) read(ctx context.Context, spec *Spec, st step, after *store.Position, req release.Request, count, bytes int) ([]store.Row, *store.Position, error) {
	if st.gone {
		return w.gone(ctx, spec, st, after, req, count)
	}
	q, err := spec.query(w.Registry, w.Base, st)
	if err != nil {
		return nil, nil, err
	}
	q.Count = count
	page, err := w.Records.SearchBounded(ctx, req.Filter, q, after, bytes)
	return page.Rows, page.Next, err
}

// gone reads deletions; of a job about some patients, theirs.
func (w *Worker) gone(ctx context.Context, spec *Spec, st step, after *store.Position, req release.Request, count int) ([]store.Row, *store.Position, error) {
	since, err := search.ParseDate(spec.Since)
	if err != nil {
		return nil, nil, err
	}
	from := int64(0)
	if after != nil {
		from = after.Row
	}
	rows, next, err := w.Records.Deleted(ctx, req.Filter, st.types[0], time.UnixMicro(since.Lo), from, count)
	if err != nil {
		return nil, nil, err
	}
	if spec.Bounded && !label.Directory(st.types[0]) {
		patients := make(map[string]bool, len(spec.Patients))
		for _, id := range spec.Patients {
			patients[id] = true
		}
		if rows, err = w.Records.Of(ctx, rows, patients); err != nil {
			return nil, nil, err
		}
	}
	if next == 0 {
		return rows, nil, nil
	}
	return rows, &store.Position{Row: next}, nil
}

// chunks puts the lines of a page into files, one type each, and what must be said about them into the outcome file.
func (w *Worker) chunks(job store.Job, at *Progress, lines *release.Lines) []store.Chunk {
	var out []store.Chunk
	open := map[int]int{} // file -> its chunk in out
	add := func(kind, typ string, key int64, body []byte) {
		no := w.file(at, kind, typ, open)
		f := &at.Files[no]
		i, ok := open[no]
		if !ok {
			i = len(out)
			out = append(out, store.Chunk{File: no, No: f.Chunks})
			open[no] = i
			f.Chunks++
		}
		out[i].Keys = append(out[i].Keys, key)
		out[i].Lines = append(append(out[i].Lines, body...), '\n')
		f.Rows++
		f.Bytes += len(body) + 1
	}
	for i := range lines.Lines {
		l := &lines.Lines[i]
		if l.Gone {
			add(deleted, l.Type, l.Key, l.Body)
			continue
		}
		add(output, l.Type, l.Key, l.Body)
		at.Rows++
	}
	if lines.Notice() {
		if issues := w.tell(job.ID, lines.Scopes()); len(issues) > 0 {
			add(faults, "OperationOutcome", 0, fhir.Outcome("information", issues))
		}
	}
	return out
}

// file is the number of the file that takes a line: the last of its kind and type, or a new one. A page's lines of a
// file stand in one chunk, so a full file ends with the page.
func (w *Worker) file(at *Progress, kind, typ string, open map[int]int) int {
	for no := len(at.Files) - 1; no >= 0; no-- {
		f := at.Files[no]
		if f.Kind != kind || f.Type != typ {
			continue
		}
		_, begun := open[no]
		if begun || (f.Rows < or(w.FileRows, 100_000) && f.Bytes < maxFile) {
			return no
		}
		break
	}
	at.Files = append(at.Files, File{Kind: kind, Type: typ})
	return len(at.Files) - 1
}

// maxFile is how large a file may be before another follows it.
const maxFile = 64 << 20

// tell is what the outcome file has to say of a page: the statement once, and each consent's scope once, as far as this
// worker remembers. After a change of workers some stand there twice.
func (w *Worker) tell(job string, scopes []string) []fhir.Issue {
	told := w.told[job]
	if told == nil || len(told) > maxTold {
		told = map[string]bool{}
	}
	var issues []fhir.Issue
	for _, text := range append([]string{release.StatementLong}, scopes...) {
		if !told[text] {
			told[text] = true
			issues = append(issues, fhir.Issue{Code: "informational", Text: text})
		}
	}
	if w.told == nil {
		w.told = map[string]map[string]bool{}
	}
	w.told[job] = told
	return issues
}
