package verify_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit"
	"trellis/gateway/audit/logfile"
	"trellis/gateway/audit/storetest"
	"trellis/gateway/audit/verify"
)

func TestIntact(t *testing.T) {
	for _, steps := range [][]int{{}, {1}, {2}, {3}, {7, 1}, {8}, {1, 1, 1, 1, 1}, {13, 20, 64, 3}} {
		f := newFixture(t, steps...)
		total := 0
		for _, n := range steps {
			total += n
		}
		r := f.verify(t, f.export(t))
		if !r.OK() || r.Size != int64(total) || r.Rows != int64(total) || r.Checkpoints != len(steps) {
			t.Errorf("steps %v: %+v", steps, r)
		}
	}
}

func TestUnnumberedIsReportedNotBlamed(t *testing.T) {
	f := newFixture(t, 3)
	f.append(t, "late-1")
	f.append(t, "late-2")
	r := f.verify(t, f.export(t))
	if !r.OK() || r.Unnumbered != 2 || !slices.Equal(r.UnnumberedIDs, []string{"late-1", "late-2"}) {
		t.Errorf("%+v", r)
	}
	f.log.Tamper("late-1", func(l audit.Leaf) audit.Leaf { l.Event = []byte(`{"kind":"denial"}`); return l })
	if got := has(t, f.verify(t, f.export(t)), verify.ChangedRow); got.ID != "late-1" {
		t.Errorf("%+v", got)
	}
}

func TestErasedEventKeepsTheProof(t *testing.T) {
	f := newFixture(t, 5)
	f.log.Tamper("row-002", func(l audit.Leaf) audit.Leaf { l.Event, l.Salt = nil, nil; return l })
	if r := f.verify(t, f.export(t)); !r.OK() || r.Erased != 1 {
		t.Errorf("%+v", r)
	}
}

// Every row of logs of many sizes is changed in turn, in each of its parts; the row is named by index and id.
func TestChangedRowIsNamed(t *testing.T) {
	forge := storetest.Leaf(t, "other")
	changes := map[string]func(audit.Leaf) audit.Leaf{
		"event": func(l audit.Leaf) audit.Leaf {
			l.Event = bytes.Replace(l.Event, []byte("TREAT"), []byte("HPAYMT"), 1)
			return l
		},
		"event garbage": func(l audit.Leaf) audit.Leaf { l.Event = []byte("{ \xff"); return l },
		"salt":          func(l audit.Leaf) audit.Leaf { l.Salt = forge.Salt; return l },
		"time":          func(l audit.Leaf) audit.Leaf { l.At = l.At.Add(1000); return l },
		"all of it": func(l audit.Leaf) audit.Leaf {
			l.Event, l.Salt = forge.Event, forge.Salt
			l.Data = logfile.LeafData(l.ID, l.At, logfile.Commitment(l.Salt, l.Event))
			return l
		},
		"erased with another commitment": func(l audit.Leaf) audit.Leaf {
			l.Event, l.Salt = nil, nil
			l.Data = logfile.LeafData(l.ID, l.At, logfile.Commitment(forge.Salt, forge.Event))
			return l
		},
		"data garbage": func(l audit.Leaf) audit.Leaf { l.Data = []byte("x"); return l },
	}
	for name, change := range changes {
		for _, steps := range [][]int{{1}, {2}, {3, 4}, {16}, {5, 9, 7}} {
			total := int64(0)
			for _, n := range steps {
				total += int64(n)
			}
			for i := range total {
				f := newFixture(t, steps...)
				id := fmt.Sprintf("row-%03d", i)
				f.log.Tamper(id, change)
				r := f.verify(t, f.export(t))
				t.Run(fmt.Sprintf("%s %v row %d", name, steps, i), func(t *testing.T) { one(t, r, verify.ChangedRow, i, id) })
			}
		}
	}
}

// The forger also changes the stored hashes. Changing only the leaf hash does not help him; changing all of them up to
// the root leaves the range between two checkpoints.
func TestChangedRowWithChangedHashes(t *testing.T) {
	forge := func(f *fixture, i int64) tlog.Hash {
		var h tlog.Hash
		f.log.Tamper(fmt.Sprintf("row-%03d", i), func(l audit.Leaf) audit.Leaf {
			l.Event = []byte(`{"kind":"denial"}`)
			l.Data = logfile.LeafData(l.ID, l.At, logfile.Commitment(l.Salt, l.Event))
			h = l.Hash()
			return l
		})
		f.log.TamperHash(tlog.StoredHashIndex(0, i), h)
		return h
	}
	f := newFixture(t, 4, 4, 8)
	forge(f, 5)
	r := f.verify(t, f.export(t))
	has(t, r, verify.DamagedHash)
	if got := has(t, r, verify.ChangedRange); got.Index > 5 || got.Index < 4 || !strings.Contains(got.Text, "rows 4 to 5") {
		t.Errorf("%+v, want the pair that holds row 5", got)
	}

	f = newFixture(t, 4, 4, 8)
	h := forge(f, 5)
	hashes, err := f.log.Hashes(t.Context(), []int64{tlog.StoredHashIndex(0, 4), tlog.StoredHashIndex(1, 3), tlog.StoredHashIndex(2, 0), tlog.StoredHashIndex(3, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l1 := tlog.NodeHash(hashes[0], h)
	l2 := tlog.NodeHash(l1, hashes[1])
	l3 := tlog.NodeHash(hashes[2], l2)
	f.log.TamperHash(tlog.StoredHashIndex(1, 2), l1)
	f.log.TamperHash(tlog.StoredHashIndex(2, 1), l2)
	f.log.TamperHash(tlog.StoredHashIndex(3, 0), l3)
	f.log.TamperHash(tlog.StoredHashIndex(4, 0), tlog.NodeHash(l3, hashes[3]))
	if got := has(t, f.verify(t, f.export(t)), verify.ChangedRange); got.Index != 4 || !strings.Contains(got.Text, "rows 4 to 7, between the checkpoints of size 4 and 8") {
		t.Errorf("%+v, want rows 4 to 7", got)
	}
}

func TestDamagedHashAlone(t *testing.T) {
	for _, index := range []int64{0, 2, 6, 14, 20} {
		f := newFixture(t, 9, 4)
		f.log.TamperHash(index, tlog.Hash{1})
		r := f.verify(t, f.export(t))
		has(t, r, verify.DamagedHash)
		for _, finding := range r.Findings {
			if finding.Problem != verify.DamagedHash {
				t.Errorf("hash %d: the rows are accused: %s", index, finding)
			}
		}
	}
}

func TestRemovedRowIsNamed(t *testing.T) {
	for _, renumber := range []bool{false, true} {
		for i := range 12 {
			f := newFixture(t, 5, 7)
			x := f.export(t)
			at := x.kinds("leaf")[i]
			x = recount(t, slices.Delete(x, at, at+1))
			if renumber {
				for n, line := range x.kinds("leaf") {
					x.edit(t, line, func(l *logfile.Line) { *l.Index = int64(n) })
				}
			}
			r := f.verify(t, x)
			if got := has(t, r, verify.RemovedRow); got.Index != int64(i) {
				t.Errorf("renumbered %v: %+v, want row %d", renumber, got, i)
			}
			if len(r.Findings) > 2 || (!renumber && len(r.Findings) > 1) {
				t.Errorf("renumbered %v, row %d: %v", renumber, i, r.Findings)
			}
		}
	}
}

func TestRemovedRows(t *testing.T) {
	f := newFixture(t, 5, 7)
	x := f.export(t)
	leaves := x.kinds("leaf")
	x = recount(t, slices.Delete(x, leaves[3], leaves[8]))
	if got := has(t, f.verify(t, x), verify.RemovedRow); got.Index != 3 || !strings.Contains(got.Text, "rows 3 to 7") {
		t.Errorf("%+v", got)
	}
}

func TestReorderedRowsAreNamed(t *testing.T) {
	f := newFixture(t, 5, 7)
	x := f.export(t)
	leaves := x.kinds("leaf")
	x[leaves[3]], x[leaves[9]] = x[leaves[9]], x[leaves[3]]
	r := f.verify(t, x)
	if got := has(t, r, verify.ReorderedRow); got.ID == "" || r.OK() {
		t.Errorf("%+v", got)
	}
	// With the indexes swapped as well, both rows stand where they do not belong.
	for i, n := range map[int]int64{3: 3, 9: 9} {
		x.edit(t, leaves[i], func(l *logfile.Line) { *l.Index = n })
	}
	r = f.verify(t, x)
	var named []int64
	for _, f := range r.Findings {
		if f.Problem != verify.ReorderedRow {
			t.Errorf("also accused: %s", f)
		}
		named = append(named, f.Index)
	}
	if !slices.Equal(named, []int64{3, 9}) {
		t.Errorf("named %v, want 3 and 9: %v", named, r.Findings)
	}
}

func TestDuplicatedRowIsNamed(t *testing.T) {
	f := newFixture(t, 5, 7)
	x := f.export(t)
	leaves := x.kinds("leaf")
	one(t, f.verify(t, recount(t, slices.Insert(slices.Clone(x), leaves[6], x[leaves[6]]))), verify.DuplicatedRow, 6, "row-006")
	one(t, f.verify(t, recount(t, slices.Insert(slices.Clone(x), leaves[11]+1, x[leaves[2]]))), verify.DuplicatedRow, 2, "row-002")
	// In place of another row.
	y := slices.Clone(x)
	y[leaves[7]] = x[leaves[2]]
	y.edit(t, leaves[7], func(l *logfile.Line) { *l.Index = 7 })
	r := f.verify(t, y)
	if got := has(t, r, verify.DuplicatedRow); got.Index != 7 || got.ID != "row-002" {
		t.Errorf("%+v", got)
	}
	if got := has(t, r, verify.RemovedRow); got.Index != 7 {
		t.Errorf("%+v", got)
	}
}

func TestAddedRowIsUnattested(t *testing.T) {
	f := newFixture(t, 5)
	x := f.export(t)
	last := x.kinds("leaf")[4]
	x = slices.Insert(x, last+1, x[last])
	x.edit(t, last+1, func(l *logfile.Line) {
		*l.Index, l.ID = 5, "forged"
		at, _ := logfile.ParseTime(l.At)
		h := logfile.LeafHash(l.ID, at, [32]byte(l.Commitment))
		l.Hash = &h
	})
	one(t, f.verify(t, recount(t, x)), verify.Unattested, 5, "forged")
}

func TestBadCheckpointSignature(t *testing.T) {
	f := newFixture(t, 5, 7)
	stranger, _ := storetest.Keys(t, "log.example")
	x := f.export(t)
	line := x.kinds("checkpoint")[0]
	forged, err := logfile.Checkpoint{Origin: "log.example", Size: 5, Root: tlog.Hash{7}}.Sign(stranger)
	if err != nil {
		t.Fatal(err)
	}
	x.edit(t, line, func(l *logfile.Line) { l.Note = string(forged) })
	r := f.verify(t, x)
	if got := has(t, r, verify.BadSignature); got.Line != line+1 || !strings.Contains(got.Text, "size 5") {
		t.Errorf("%+v", got)
	}
	// One bit of the last signature: the rows after the first checkpoint are unattested.
	x = f.export(t)
	line = x.kinds("checkpoint")[1]
	x.edit(t, line, func(l *logfile.Line) {
		head, tail, _ := strings.Cut(l.Note, "— log.example ")
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(tail))
		if err != nil {
			t.Fatal(err)
		}
		raw[20] ^= 1
		l.Note = head + "— log.example " + base64.StdEncoding.EncodeToString(raw) + "\n"
	})
	r = f.verify(t, x)
	has(t, r, verify.BadSignature)
	if got := has(t, r, verify.Unattested); got.Index != 5 || r.Size != 5 {
		t.Errorf("%+v of size %d", got, r.Size)
	}
	// The wrong key altogether.
	_, other := storetest.Keys(t, "log.example")
	f.key = other
	if r := f.verify(t, f.export(t)); len(r.Findings) < 2 || r.Size != 0 {
		t.Errorf("%+v", r)
	}
}

func TestInconsistentCheckpoints(t *testing.T) {
	f := newFixture(t, 5, 7)
	sign := func(size int64, root tlog.Hash) string {
		c, err := logfile.OpenCheckpoint(f.head(t), f.key)
		if err != nil {
			t.Fatal(err)
		}
		c.Size, c.Root = size, root
		signed, err := c.Sign(f.signer)
		if err != nil {
			t.Fatal(err)
		}
		return render(t, &logfile.Line{Kind: logfile.KindCheckpoint, Note: string(signed)})
	}
	x := f.export(t)
	points := x.kinds("checkpoint")
	fork := recount(t, slices.Insert(slices.Clone(x), points[1]+1, sign(12, tlog.Hash{1})))
	if got := has(t, f.verify(t, fork), verify.Inconsistent); !strings.Contains(got.Text, "forked") {
		t.Errorf("%+v", got)
	}
	middle := recount(t, slices.Insert(slices.Clone(x), points[1], sign(8, tlog.Hash{1})))
	if got := has(t, f.verify(t, middle), verify.Inconsistent); !strings.Contains(got.Text, "size 8") {
		t.Errorf("%+v", got)
	}
}
