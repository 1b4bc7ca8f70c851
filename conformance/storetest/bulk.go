package storetest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// testBounded reads by pages that may weigh little: each is smaller than asked for, and together they are everything.
func testBounded(t *testing.T, open Open) {
	b := newBench(t, open, nil)
	var want []string
	for i := range 60 {
		b.put("own", false, condition(fmt.Sprintf("B%02d", i), "P1", fmt.Sprintf("I%d", i)))
		want = append(want, fmt.Sprintf("B%02d", i))
	}
	q, err := Registry(t).Parse("Condition", url.Values{}, base)
	if err != nil {
		t.Fatal(err)
	}
	q.Count = 50
	for _, bytes := range []int{1, 1000, 1 << 20} {
		var got []string
		var after *store.Position
		largest := 0
		for {
			page, err := b.s.SearchBounded(b.ctx, b.filter(own(), "TREAT"), q, after, bytes)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Rows {
				got = append(got, r.ID)
			}
			largest = max(largest, len(page.Rows))
			if after = page.Next; after == nil {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d bytes: %v", bytes, got)
		}
		if bounded := largest < 50; bounded != (bytes < 1<<20) || largest == 0 {
			t.Errorf("pages of %d bytes have up to %d rows", bytes, largest)
		}
	}
}

// testJobs: a client has no more jobs than it may, whoever asks at once; a job has one worker at a time; a page is kept
// whole or not at all, with its leaf; and what is removed or expired is gone.
func testJobs(t *testing.T, open Open) {
	now := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
	b := newBench(t, open, func() time.Time { return now })
	if err := b.s.PutClient(b.ctx, store.ClientRecord{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = b.s.StartJob(b.ctx, store.Job{ID: fmt.Sprintf("J%02d", i), Spec: []byte("{}"), Progress: []byte("{}")}, 2)
		}()
	}
	wg.Wait()
	started := 0
	for _, err := range errs {
		if err == nil {
			started++
		} else if !errors.Is(err, store.ErrJobs) {
			t.Error(err)
		}
	}
	if started != 2 {
		t.Fatalf("%d jobs of 2 started", started)
	}
	const lease = 10 * time.Second
	first, ok, err := b.s.ClaimJob(b.ctx, "one", lease)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	second, ok, err := b.s.ClaimJob(b.ctx, "two", lease)
	if err != nil || !ok || second.ID == first.ID {
		t.Fatalf("two workers have one job: %v %v", ok, err)
	}
	if _, ok, err = b.s.ClaimJob(b.ctx, "three", lease); ok || err != nil {
		t.Errorf("a third worker has one: %v", err)
	}
	leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Disclosure, At: now})
	if err != nil {
		t.Fatal(err)
	}
	page := store.JobPage{State: store.JobDone, Progress: []byte(`{"rows":2}`), Leaves: []audit.Leaf{leaf}, Life: time.Hour,
		Chunks: []store.Chunk{{File: 0, No: 0, Keys: []int64{900, 7}, Lines: []byte("{}\n{}\n")}}}
	if err := b.s.SaveJob(b.ctx, first.ID, "two", lease, page); !errors.Is(err, store.ErrLease) {
		t.Errorf("another's job was saved: %v", err)
	}
	if leaves, err := b.s.Audit().Unnumbered(b.ctx, 10); err != nil || len(leaves) != 0 {
		t.Errorf("a page that was not kept left %d leaves, %v", len(leaves), err)
	}
	now = now.Add(time.Minute) // the second worker died
	if _, ok, err = b.s.ClaimJob(b.ctx, "one", lease); !ok || err != nil {
		t.Error("a job is lost with its worker", err)
	}
	if err := b.s.SaveJob(b.ctx, first.ID, "one", lease, page); err != nil {
		t.Fatal(err)
	}
	chunk, found, err := b.s.ReadChunk(b.ctx, first.ID, 0, 0)
	if err != nil || !found || !slices.Equal(chunk.Keys, []int64{900, 7}) || string(chunk.Lines) != "{}\n{}\n" {
		t.Errorf("%+v %v %v", chunk, found, err)
	}
	if leaves, err := b.s.Audit().Unnumbered(b.ctx, 10); err != nil || len(leaves) != 1 {
		t.Errorf("a page that was kept left %d leaves, %v", len(leaves), err)
	}
	if j, err := b.s.ReadJob(b.ctx, first.ID, ""); err != nil || j.State != store.JobDone || !j.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v %v", j, err)
	}
	if err := b.s.RemoveJob(b.ctx, second.ID, "another"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another's job was removed: %v", err)
	}
	if err := b.s.RemoveJob(b.ctx, second.ID, ""); err != nil {
		t.Error(err)
	}
	now = now.Add(2 * time.Hour)
	for _, id := range []string{first.ID, second.ID} {
		if _, err := b.s.ReadJob(b.ctx, id, ""); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("still there: %v", err)
		}
	}
	for more := true; more; {
		if more, err = b.s.SweepJobs(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, found, err = b.s.ReadChunk(b.ctx, first.ID, 0, 0); found || err != nil {
		t.Errorf("a chunk was left: %v", err)
	}
}
