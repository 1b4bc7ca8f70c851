package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
)

// send writes a record of one Condition and what its keeper sent of it, in one transaction.
func (b *bench) send(org, key, pack, text string, differs bool, fail error) error {
	b.t.Helper()
	r := b.resource(`{"resourceType":"Condition","id":"` + org + key + `","subject":{"reference":"Patient/P1"},"code":{"text":"` + text + `"}}`)
	_, _, err := b.s.Transact(b.ctx, store.Transaction{Owner: org,
		Plan: func(v *store.View) ([]store.Change, error) {
			if _, _, _, err := v.Sent("kind", key); err != nil {
				return nil, err
			}
			return []store.Change{{Method: store.Update, Type: r.Type, ID: r.ID, Resource: r, Owner: org, MayCreate: true, Segment: b.cl.Classify(r, label.Source{Organization: org, Covered: true}, nil)}}, nil
		},
		Finish: func(w []store.Written) (store.Commit, error) {
			return store.Commit{Sent: []store.Sent{{Organization: org, Kind: "kind", Key: key, Pack: pack, View: []byte(`{"text":"` + text + `"}`), Differs: differs,
				Resources: []store.Kept{{Type: r.Type, ID: r.ID, Version: w[0].Version, Plain: !differs}}}}}, fail
		}})
	b.check()
	return err
}

func (b *bench) sent(org, key string) store.Sent {
	b.t.Helper()
	s, found, err := b.s.Sent(b.ctx, org, "kind", key)
	if err != nil || !found {
		b.t.Fatalf("%s %s is not on file: %v", org, key, err)
	}
	return s
}

func (b *bench) keys(after string, changed bool, limit int64) string {
	b.t.Helper()
	list, err := b.s.SentKeys(b.ctx, "own", "kind", after, changed, limit)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// testSent: what a keeper sent is on file with the versions its resources had, or nothing of the delivery is; a change made
// elsewhere shows, and nobody else's records do.
func testSent(t *testing.T, open Open) {
	now := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
	b := newBench(t, open, func() time.Time { return now })
	b.put("own", false, `{"resourceType":"Patient","id":"P1"}`)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		must(b.send("own", key, "1", "x", false, nil))
	}
	must(b.send("other", "a", "1", "theirs", true, nil))
	s := b.sent("own", "a")
	if string(s.View) != `{"text":"x"}` || s.Pack != "1" || s.Differs || !s.At.Equal(now) || fmt.Sprint(s.Resources) != fmt.Sprint([]store.Kept{{Type: "Condition", ID: "owna", Version: 1, Plain: true}}) {
		t.Errorf("%+v", s)
	}
	if _, found, err := b.s.Sent(b.ctx, "own", "kind", "z"); err != nil || found {
		t.Errorf("a record nobody sent: %t %v", found, err)
	}
	if got := b.keys("", true, 10); got != "" {
		t.Errorf("nothing was changed, and there are %s", got)
	}
	// All or nothing.
	failed := errors.New("failed")
	if err := b.send("own", "d", "1", "x", false, failed); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if err := b.send("own", "a", "2", "y", false, failed); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if got, pack := b.keys("", false, 10), b.sent("own", "a").Pack; got != "a b c" || pack != "1" {
		t.Errorf("after failures: %s, pack %s", got, pack)
	}
	// A change elsewhere, and one that a delivery left standing.
	b.put("own", false, `{"resourceType":"Condition","id":"ownb","subject":{"reference":"Patient/P1"},"code":{"text":"elsewhere"}}`)
	must(b.send("own", "c", "2", "x", true, nil))
	if got := b.keys("", true, 10); got != "b c" {
		t.Errorf("changed: %s", got)
	}
	if first, rest := b.keys("", true, 1), b.keys("b", true, 1); first != "b" || rest != "c" {
		t.Errorf("in pages: %s, %s", first, rest)
	}
	b.inside("own", func(v *store.View) {
		_, changed, found, err := v.Sent("kind", "b")
		kept, kerr := v.Kept(fhir.Reference{Type: "Condition", ID: "ownb"})
		if err != nil || kerr != nil || !changed || !found || kept.Version != 2 || kept.Deleted || !strings.Contains(string(kept.Resource.JSON), "elsewhere") {
			t.Errorf("inside: %t %t %v %v %+v", changed, found, err, kerr, kept)
		}
		if _, changed, _, _ := v.Sent("kind", "a"); changed {
			t.Error("nobody changed it")
		}
		if _, err := v.Kept(fhir.Reference{Type: "Condition", ID: "othera"}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("another's: %v", err)
		}
	})
	if _, err := b.s.Apply(b.ctx, []store.Change{{Method: store.Delete, Type: "Condition", ID: "owna", Owner: "own"}}, nil); err != nil {
		t.Fatal(err)
	}
	b.inside("own", func(v *store.View) {
		kept, err := v.Kept(fhir.Reference{Type: "Condition", ID: "owna"})
		if _, changed, _, _ := v.Sent("kind", "a"); err != nil || !changed || !kept.Deleted || kept.Resource != nil {
			t.Errorf("deleted: %+v %t %v", kept, changed, err)
		}
	})
	must(b.send("own", "b", "2", "z", false, nil))
	if got := b.keys("", true, 10); got != "a c" {
		t.Errorf("after another delivery: %s", got)
	}
	list, left, err := b.s.SentByOthers(b.ctx, "kind", "2", store.SentKey{}, 1)
	if err != nil || left != 2 || fmt.Sprint(list) != "[{other a}]" {
		t.Errorf("of another pack: %v %d %v", list, left, err)
	}
	list, left, err = b.s.SentByOthers(b.ctx, "kind", "2", list[0], 9)
	if err != nil || left != 1 || fmt.Sprint(list) != "[{own a}]" {
		t.Errorf("and behind it: %v %d %v", list, left, err)
	}
}

// inside looks from a write transaction that changes nothing.
func (b *bench) inside(org string, look func(v *store.View)) {
	b.t.Helper()
	_, _, err := b.s.Transact(b.ctx, store.Transaction{Owner: org, Plan: func(v *store.View) ([]store.Change, error) { look(v); return nil, nil }})
	if err != nil {
		b.t.Fatal(err)
	}
}
