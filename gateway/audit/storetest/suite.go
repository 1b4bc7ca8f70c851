// Package storetest is the contract of audit.Store and audit.ExportStore in executable form, and a log in memory that
// keeps it.
//
// Every implementation runs the same suite. Durability across a crash is not tested here but in the store's own crash
// test. Entered through Run.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit"
	"trellis/gateway/audit/verify"
)

// Log is what the suite needs.
type Log interface {
	audit.Store
	audit.ExportStore
}

// Open returns a fresh, empty log.
type Open func(t *testing.T) Log

// Run holds a store to the contract.
func Run(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Log){
		"append":                        appendOnce,
		"unnumbered in arrival order":   unnumberedOrder,
		"lease":                         lease,
		"number":                        number,
		"number refuses":                numberRefuses,
		"two sequencers under load":     twoSequencers,
		"snapshot stands still":         snapshotStands,
		"export of an empty log":        emptyLog,
		"leaves come back byte by byte": roundTrip,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// Leaf makes a leaf of a plausible event.
func Leaf(t testing.TB, id string) audit.Leaf {
	t.Helper()
	leaf, err := audit.NewLeaf(audit.Event{
		ID: id, Kind: audit.Disclosure, At: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC), Client: "ehr",
		Patient: "Patient/p1", Purpose: "TREAT", Query: []byte("code=<x>&a=b"), Decision: []byte(`{"effect":"permit","r":["a<b"]}`),
		Resources: []audit.Resource{{Type: "Observation", ID: "o1", Version: "1", Segment: "3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// Keys makes the key pair of a log.
func Keys(t testing.TB, origin string) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := audit.NewKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func appendLeaves(t *testing.T, log Log, ids ...string) {
	t.Helper()
	var leaves []audit.Leaf
	for _, id := range ids {
		leaves = append(leaves, Leaf(t, id))
	}
	if err := log.Append(context.Background(), leaves...); err != nil {
		t.Fatal(err)
	}
}

func unnumbered(t *testing.T, log Log, limit int) []string {
	t.Helper()
	leaves, err := log.Unnumbered(context.Background(), limit)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, l := range leaves {
		if len(l.Data) == 0 {
			t.Errorf("leaf %s comes without data", l.ID)
		}
		ids = append(ids, l.ID)
	}
	return ids
}

func appendOnce(t *testing.T, log Log) {
	appendLeaves(t, log, "a")
	if err := log.Append(context.Background()); err != nil {
		t.Errorf("appending nothing: %v", err)
	}
	appendLeaves(t, log, "b", "c")
	if got := unnumbered(t, log, 10); !cmp.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("unnumbered %v, want [a b c]", got)
	}
}

func unnumberedOrder(t *testing.T, log Log) {
	var want []string
	for i := range 30 {
		id := fmt.Sprintf("id-%02d", (i*7)%30) // arrival is not the order of ids
		appendLeaves(t, log, id)
		want = append(want, id)
	}
	if diff := cmp.Diff(want, unnumbered(t, log, 100)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:5], unnumbered(t, log, 5)); diff != "" {
		t.Errorf("limit (-want +got):\n%s", diff)
	}
}

func acquire(t *testing.T, log Log, holder string, ttl time.Duration) (int64, bool) {
	t.Helper()
	fence, ok, err := log.AcquireLease(context.Background(), holder, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return fence, ok
}

func lease(t *testing.T, log Log) {
	one, ok := acquire(t, log, "a", time.Hour)
	if !ok {
		t.Fatal("a free lease was refused")
	}
	if again, ok := acquire(t, log, "a", time.Hour); !ok || again != one {
		t.Errorf("renewal: fence %d, %v; want %d", again, ok, one)
	}
	if _, ok := acquire(t, log, "b", time.Hour); ok {
		t.Error("two holders of one lease")
	}
	if _, ok := acquire(t, log, "a", 0); !ok {
		t.Error("giving the lease up was refused")
	}
	two, ok := acquire(t, log, "b", time.Hour)
	if !ok || two <= one {
		t.Errorf("next holder: fence %d, %v; want more than %d", two, ok, one)
	}
	if _, ok := acquire(t, log, "b", 0); !ok {
		t.Error("giving the lease up was refused")
	}
	if three, ok := acquire(t, log, "b", time.Hour); !ok || three <= two {
		t.Errorf("taken again after expiry: fence %d, %v; want more than %d", three, ok, two)
	}
}

// batch numbers the ids as a tree of its own: First has to be 0.
func batch(t *testing.T, fence int64, ids ...string) audit.Batch {
	t.Helper()
	b := audit.Batch{Fence: fence, IDs: ids, Checkpoint: []byte("checkpoint of " + fmt.Sprint(ids))}
	var all []tlog.Hash
	for i, id := range ids {
		added, err := tlog.StoredHashes(int64(i), []byte(id), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
			var list []tlog.Hash
			for _, j := range indexes {
				list = append(list, all[j])
			}
			return list, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range added {
			b.Hashes = append(b.Hashes, audit.StoredHash{Index: int64(len(all)), Hash: h})
			all = append(all, h)
		}
	}
	return b
}

func number(t *testing.T, log Log) {
	ctx := context.Background()
	if size, checkpoint, err := log.Head(ctx); size != 0 || checkpoint != nil || err != nil {
		t.Errorf("empty head: %d, %q, %v", size, checkpoint, err)
	}
	appendLeaves(t, log, "a", "b", "c", "d")
	fence, _ := acquire(t, log, "x", time.Hour)
	b := batch(t, fence, "a", "b", "c")
	if err := log.Number(ctx, b); err != nil {
		t.Fatal(err)
	}
	size, checkpoint, err := log.Head(ctx)
	if size != 3 || !bytes.Equal(checkpoint, b.Checkpoint) || err != nil {
		t.Errorf("head: %d, %q, %v", size, checkpoint, err)
	}
	if got := unnumbered(t, log, 10); !cmp.Equal(got, []string{"d"}) {
		t.Errorf("unnumbered %v, want [d]", got)
	}
	hashes, err := log.Hashes(ctx, []int64{3, 0, 2})
	if err != nil || len(hashes) != 3 || hashes[0] != b.Hashes[3].Hash || hashes[1] != b.Hashes[0].Hash || hashes[2] != b.Hashes[2].Hash {
		t.Errorf("hashes %v, %v", hashes, err)
	}
	if _, err := log.Hashes(ctx, []int64{0, int64(len(b.Hashes))}); err == nil {
		t.Error("a missing hash is no error")
	}
}

func numberRefuses(t *testing.T, log Log) {
	ctx := context.Background()
	appendLeaves(t, log, "a", "b")
	stale, _ := acquire(t, log, "x", time.Hour)
	acquire(t, log, "x", 0)
	fence, _ := acquire(t, log, "y", time.Hour)
	if err := log.Number(ctx, batch(t, stale, "a")); !errors.Is(err, audit.ErrFenced) {
		t.Errorf("stale fence: %v, want ErrFenced", err)
	}
	gap := batch(t, fence, "a")
	gap.First = 1
	for name, b := range map[string]audit.Batch{"gap": gap, "unknown id": batch(t, fence, "a", "nobody"), "id twice": batch(t, fence, "a", "a")} {
		if err := log.Number(ctx, b); !errors.Is(err, audit.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	if size, _, err := log.Head(ctx); size != 0 || err != nil || len(unnumbered(t, log, 10)) != 2 {
		t.Errorf("a refused step left traces: size %d, %v", size, err)
	}
	if err := log.Number(ctx, batch(t, fence, "a")); err != nil {
		t.Fatal(err)
	}
	if err := log.Number(ctx, batch(t, fence, "b")); !errors.Is(err, audit.ErrConflict) {
		t.Errorf("first below the head: %v, want ErrConflict", err)
	}
}

// Export and verify: the invariant of everything.
func check(t *testing.T, log Log, key note.Verifier) *verify.Report {
	t.Helper()
	var file bytes.Buffer
	if _, err := audit.Export(context.Background(), log, key.Name(), &file); err != nil {
		t.Fatal(err)
	}
	report, err := verify.Verify(bytes.NewReader(file.Bytes()), verify.Options{Keys: []note.Verifier{key}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Error(f)
	}
	return report
}

func twoSequencers(t *testing.T, log Log) {
	ctx := context.Background()
	signer, key := Keys(t, "log.example/two")
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := log.Append(ctx, Leaf(t, fmt.Sprintf("w%d-%d", w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	step := func(holder string) {
		s := &audit.Sequencer{Store: log, Signer: signer, Verifier: key, Holder: holder, Batch: 7}
		for range 60 {
			if _, err := s.Step(ctx); err != nil && !errors.Is(err, audit.ErrFenced) && !errors.Is(err, audit.ErrConflict) {
				t.Error(err)
			}
			if _, _, err := log.AcquireLease(ctx, holder, 0); err != nil { // hand over, so that both get their turn
				t.Error(err)
			}
		}
	}
	wg.Go(func() { step("one") })
	wg.Go(func() { step("two") })
	wg.Wait()
	for len(unnumbered(t, log, 1)) > 0 {
		s := &audit.Sequencer{Store: log, Signer: signer, Verifier: key, Holder: "last"}
		if _, err := s.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if report := check(t, log, key); report.Size != writers*each || report.Unnumbered != 0 {
		t.Errorf("size %d, unnumbered %d; want %d, 0", report.Size, report.Unnumbered, writers*each)
	}
}

func snapshotStands(t *testing.T, log Log) {
	ctx := context.Background()
	signer, key := Keys(t, "log.example/snapshot")
	s := &audit.Sequencer{Store: log, Signer: signer, Verifier: key, Holder: "x"}
	appendLeaves(t, log, "a", "b")
	if _, err := s.Step(ctx); err != nil {
		t.Fatal(err)
	}
	appendLeaves(t, log, "c")
	snap, err := log.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	appendLeaves(t, log, "d")
	if _, err := s.Step(ctx); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, err := range snap.Leaves(ctx) {
		counts["leaves"]++
		fatal(t, err)
	}
	for _, err := range snap.Checkpoints(ctx) {
		counts["checkpoints"]++
		fatal(t, err)
	}
	for _, err := range snap.Hashes(ctx) {
		counts["hashes"]++
		fatal(t, err)
	}
	for l, err := range snap.Unnumbered(ctx) {
		counts["unnumbered "+l.ID]++
		fatal(t, err)
	}
	want := map[string]int{"leaves": 2, "checkpoints": 1, "hashes": 3, "unnumbered c": 1}
	if diff := cmp.Diff(want, counts); diff != "" || snap.Size() != 2 {
		t.Errorf("size %d (-want +got):\n%s", snap.Size(), diff)
	}
	fatal(t, snap.Close())
	if report := check(t, log, key); report.Size != 4 {
		t.Errorf("size %d after the second step", report.Size)
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func emptyLog(t *testing.T, log Log) {
	_, key := Keys(t, "log.example/empty")
	if report := check(t, log, key); report.Size != 0 || report.Rows != 0 {
		t.Errorf("%+v", report)
	}
}

func roundTrip(t *testing.T, log Log) {
	ctx := context.Background()
	want := []audit.Leaf{Leaf(t, "a"), Leaf(t, "b")}
	if err := log.Append(ctx, want...); err != nil {
		t.Fatal(err)
	}
	signer, key := Keys(t, "log.example/trip")
	s := &audit.Sequencer{Store: log, Signer: signer, Verifier: key, Holder: "x", Batch: 1}
	if _, err := s.Step(ctx); err != nil {
		t.Fatal(err)
	}
	snap, err := log.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []audit.Leaf
	for n, err := range snap.Leaves(ctx) {
		fatal(t, err)
		got = append(got, n.Leaf)
	}
	for l, err := range snap.Unnumbered(ctx) {
		fatal(t, err)
		got = append(got, l)
	}
	fatal(t, snap.Close())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leaves (-want +got):\n%s", diff)
	}
}
