package rest

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/store"
)

// FuzzCursor: no text but one this key sealed for the same question and caller opens, and none breaks anything.
func FuzzCursor(f *testing.F) {
	cursors, err := NewCursors(make([]byte, 32), func() time.Time { return time.Unix(1_800_000_000, 0) })
	if err != nil {
		f.Fatal(err)
	}
	const who = "c TREAT"
	sealed, err := cursors.seal(&store.Position{Keys: []any{"k", int64(7)}, Row: 9}, "Condition?", who)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"", "x", sealed, sealed[1:], sealed + "A", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(text, "Condition?")
		f.Add(text, "Patient?")
	}
	f.Fuzz(func(t *testing.T, text, binding string) {
		p, err := cursors.open(text, binding, who)
		var problem *fhir.Problem
		switch {
		case text == "":
			if p != nil || err != nil {
				t.Fatal(p, err)
			}
		case err == nil: // sealed by this test, perhaps in another of the fuzzer's processes
			if binding != "Condition?" || p.Row != 9 || len(p.Keys) != 2 || p.Keys[1] != int64(7) {
				t.Fatal(p)
			}
		case text == sealed && binding == "Condition?":
			t.Fatal(err)
		case !errors.As(err, &problem) || p != nil:
			t.Fatal(p, err)
		}
	})
}

// FuzzBundle reads whatever stands in a Bundle up to the point where data is needed: an operation in its order or an
// error with a public half.
func FuzzBundle(f *testing.F) {
	parser, err := fhir.NewParser()
	if err != nil {
		f.Fatal(err)
	}
	registry, err := search.New()
	if err != nil {
		f.Fatal(err)
	}
	scopes, err := smart.Parse("system/*.cruds")
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range []string{
		`{"fullUrl":"urn:uuid:a","resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=a|b"}}`,
		`{"resource":{"resourceType":"Patient","id":"p"},"request":{"method":"PUT","url":"Patient/p","ifMatch":"W/\"3\""}}`,
		`{"resource":{"resourceType":"Basic","subject":{"reference":"Patient?identifier=a"}},"request":{"method":"PUT","url":"Basic?_id=1"}}`,
		`{"resource":{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W10="},"request":{"method":"PATCH","url":"Patient/p"}}`,
		`{"resource":{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"delete"},{"name":"path","valueString":"Patient.name"}]}]},"request":{"method":"PATCH","url":"Patient?_id=p"}}`,
		`{"request":{"method":"DELETE","url":"Patient?identifier=%zz"}}`, `{"request":{"method":"GET","url":"?"}}`, `{"request":{"method":"HEAD","url":"//x/y","ifModifiedSince":"2026"}}`, `{}`, `7`,
	} {
		f.Add([]byte(entry + "," + `{"request":{"method":"DELETE","url":"/Patient/p"}}`))
	}
	f.Fuzz(func(t *testing.T, entries []byte) {
		res, err := fhir.ReadTrusted([]byte(`{"resourceType":"Bundle","type":"transaction","entry":[` + string(entries) + `]}`))
		if err != nil {
			return
		}
		k := &call{s: &Server{Base: "http://gateway.example/fhir", Parser: parser, Registry: registry}, caller: caller{reach: reach{scopes: scopes, levels: []string{smart.System}, writes: true}}}
		var ops []operation
		var at []int
		for i, e := range res.Root.Get("entry").List() {
			r, err := readEntry(e, k.s.Base)
			if err == nil && r.method != http.MethodGet {
				var op operation
				if op, err = k.entryOperation(r); err == nil {
					ops, at = append(ops, op), append(at, i)
				}
			}
			var problem *fhir.Problem
			if err != nil && !errors.As(err, &problem) {
				t.Fatalf("%T: %v", err, err)
			}
		}
		ordered, at := inOrder(ops, at)
		for i, op := range ordered {
			if i > 0 && op.verb == smart.Delete && ordered[i-1].verb != smart.Delete {
				t.Fatalf("entry %d out of order", at[i])
			}
		}
	})
}

// FuzzJSONPatch: whatever a JSON Patch asks for, there is a document or an error with a public half.
func FuzzJSONPatch(f *testing.F) {
	res, err := fhir.ReadTrusted([]byte(`{"resourceType":"Patient","id":"p","name":[{"given":["a","b"]}],"birthDate":"1920-01-01"}`))
	if err != nil {
		f.Fatal(err)
	}
	for _, patch := range []string{
		`[{"op":"test","path":"/id","value":"p"},{"op":"remove","path":"/name/0/given/1"}]`, `[{"op":"copy","from":"","path":"/name/-"}]`, `[{"op":"move","from":"/name","path":"/name/0"}]`,
		`[{"op":"add","path":"","value":null}]`, `[{"op":"replace","path":"/name/-1","value":{}}]`, `[{}]`, `[null]`, `{}`, `[{"op":"add","path":"/~2","value":1e999}]`,
	} {
		f.Add([]byte(patch))
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		apply, err := readJSONPatch(patch)
		if err == nil {
			_, err = apply(res)
		}
		var problem *fhir.Problem
		if err != nil && !errors.As(err, &problem) {
			t.Fatalf("%T", err)
		}
	})
}
