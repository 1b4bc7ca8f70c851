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

	"trellis/gateway/audit"
	"trellis/gateway/audit/logfile"
	"trellis/gateway/audit/storetest"
	"trellis/gateway/audit/verify"
)

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

	// Rewritten from row 5 on: the older kept checkpoint bounds the change.
	half := newFixtureFrom(t, f, 5)
	for i := range 4 {
		half.append(t, fmt.Sprintf("more-%d", i))
	}
	half.step(t)
	r = f.verify(t, half.export(t), first, second)
	if got := has(t, r, verify.Rewritten); got.Index != 5 || r.Kept != 1 || !strings.Contains(got.Text, "rows 5 to 8") {
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
