package verify_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
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

// What only a kept checkpoint can show.
func TestKeptCheckpoint(t *testing.T) {
	f := newFixture(t, 5)
	first := f.head(t)
	for i := range 4 {
		f.append(t, fmt.Sprintf("more-%d", i))
	}
	f.step(t)
	second := f.head(t)
	if r := f.verify(t, f.export(t), first, second); !r.OK() || r.Kept != 2 {
		t.Errorf("%+v", r)
	}

	// Truncated to an earlier, honestly signed state.
	short := newFixtureFrom(t, f, 5)
	if r := f.verify(t, short.export(t)); !r.OK() {
		t.Errorf("a truncated log is consistent in itself: %v", r.Findings)
	}
	r := f.verify(t, short.export(t), second)
	if got := has(t, r, verify.Truncated); got.Index != 5 || !strings.Contains(got.Text, "rows 5 to 8") {
		t.Errorf("%+v", got)
	}

	// Rewritten and signed again with the true key.
	again := newFixture(t, 5, 4)
	again.signer, again.key = f.signer, f.key
	rewritten := newFixtureFrom(t, again, 9)
	if r := f.verify(t, rewritten.export(t)); !r.OK() {
		t.Errorf("a rewritten log is consistent in itself: %v", r.Findings)
	}
	r = f.verify(t, rewritten.export(t), first, second)
	if got := has(t, r, verify.Rewritten); got.Index != 0 || r.Kept != 0 {
		t.Errorf("%+v", got)
	}

	// A kept checkpoint that is itself forged proves nothing, and says so.
	forged := bytes.Replace(first, []byte("\n5\n"), []byte("\n4\n"), 1)
	has(t, f.verify(t, f.export(t), forged), verify.BadSignature)
	has(t, f.verify(t, f.export(t), []byte("garbage")), verify.BadSignature)

	// A changed row must not be mistaken for a rewritten log: the signed history is still there.
	f.log.Tamper("row-002", func(l audit.Leaf) audit.Leaf { l.Event = []byte(`{}`); return l })
	one(t, f.verify(t, f.export(t), first, second), verify.ChangedRow, 2, "row-002")
}

// newFixtureFrom signs the first n leaves of f afresh with f's key, in one step: what an operator who holds the key
// could do.
func newFixtureFrom(t *testing.T, f *fixture, n int) *fixture {
	t.Helper()
	snap, err := f.log.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := &fixture{log: &storetest.Memory{}, signer: f.signer, key: f.key}
	for row, err := range snap.Leaves(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Index < int64(n) {
			if err := g.log.Append(t.Context(), row.Leaf); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.step(t)
	return g
}

func TestDamagedFile(t *testing.T) {
	f := newFixture(t, 5, 7)
	x := f.export(t)
	leaf := x.kinds("leaf")[4]
	for name, y := range map[string]file{
		"empty":          {},
		"cut in a line":  append(slices.Clone(x[:len(x)-2]), x[len(x)-2][:10]),
		"no end":         x[:len(x)-1],
		"no header":      x[1:],
		"two headers":    slices.Insert(slices.Clone(x), 0, x[0]),
		"end first":      slices.Insert(slices.Clone(x), 1, x[len(x)-1]),
		"wrong counts":   append(slices.Clone(x[:len(x)-1]), render(t, &logfile.Line{Kind: logfile.KindEnd, Counts: &logfile.Counts{}})),
		"not JSON":       replace(x, leaf, "%%%\n"),
		"unknown kind":   replace(x, leaf, `{"kind":"other"}`+"\n"),
		"member twice":   replace(x, leaf, strings.Replace(x[leaf], `"id":`, `"id":"decoy","id":`, 1)),
		"other case":     replace(x, leaf, strings.Replace(x[leaf], `"id":`, `"ID":`, 1)),
		"unknown member": replace(x, leaf, strings.Replace(x[leaf], `"id":`, `"x":1,"id":`, 1)),
		"trailing space": replace(x, leaf, strings.Replace(x[leaf], "}\n", "} \n", 1)),
		"other format":   replace(x, 0, strings.Replace(x[0], `"format":1`, `"format":2`, 1)),
		"other origin":   replace(x, 0, strings.Replace(x[0], `log.example`, `log.elsewhere`, 1)),
	} {
		if r := f.verify(t, y); r.OK() {
			t.Errorf("%s: accepted", name)
		} else {
			has(t, r, verify.Malformed)
		}
	}
}

func replace(x file, i int, line string) file {
	y := slices.Clone(x)
	y[i] = line
	return y
}

func FuzzVerify(f *testing.F) {
	fx := &fixture{log: &storetest.Memory{}}
	fx.signer, fx.key = fixedKeys(f) // every fuzzing process has to accept the same corpus
	for i := range 7 {
		fx.append(f, fmt.Sprintf("row-%03d", i))
		if i == 2 || i == 6 {
			fx.step(f)
		}
	}
	fx.append(f, "late")
	x := fx.export(f)
	honest := strings.Join(x, "")
	f.Add([]byte(honest))
	f.Add([]byte(strings.Join(x[:4], "")))
	f.Add([]byte(`{"kind":"hash","index":9223372036854775807,"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}` + "\n"))
	f.Add([]byte(strings.Replace(honest, `"index":4`, `"index":9000000000000`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := verify.Verify(bytes.NewReader(data), verify.Options{Keys: []note.Verifier{fx.key}, Kept: [][]byte{fx.head(t)}})
		if err != nil {
			return
		}
		// Whatever is accepted against the kept head has to contain every row that was signed.
		if r.OK() && (r.Size != 7 || r.Rows != 7) {
			t.Fatalf("accepted %+v", r)
		}
	})
}

func fixedKeys(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	seed := bytes.Repeat([]byte{7}, 32)
	vkey, err := note.NewEd25519VerifierKey("log.example", ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	key, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	skey := fmt.Sprintf("PRIVATE+KEY+log.example+%08x+%s", key.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)))
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, key
}
