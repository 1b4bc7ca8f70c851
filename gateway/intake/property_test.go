package intake

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
	"trellis/mapping"
)

// cases are the records of the golden cases by kind, with a key of their own each time.
func cases(t testing.TB, d *Desk) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for name, p := range d.packs {
		if p.Format != "json" {
			continue
		}
		files, err := fs.Glob(mapping.Packs(), name+"/cases/*.case")
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(files)
		for _, file := range files {
			data, err := fs.ReadFile(mapping.Packs(), file)
			if err != nil {
				t.Fatal(err)
			}
			record, _, _ := strings.Cut(string(data), "\n---")
			if r, err := p.MapJSON(d.environment(rco(), time.Unix(1767225600, 0)), []byte(record)); err == nil && len(r.Records) == 1 && !strings.Contains(record, `"resourceType"`) {
				out[name] = append(out[name], record)
			}
		}
	}
	return out
}

// a history is one record, what was done to its resources and what has to hold.
type history struct {
	*rapid.T
	o      *office
	kind   string
	record map[string]any
	marks  map[string]string // what was added elsewhere: the resource it is in
	gone   map[string]bool   // resources that were deleted elsewhere
	n      int
}

// another makes the record one of another key.
func (h *history) another(key string) {
	doc, err := json.Marshal(h.record)
	if err != nil {
		h.Fatal(err)
	}
	_, was, err := h.o.desk.packs[h.kind].Record(doc)
	if err != nil {
		h.Fatal(err)
	}
	for name, v := range h.record {
		if v == any(was) {
			h.record[name] = key
			return
		}
	}
	h.Skip("its key is of several fields")
}

func (h *history) deliver() Receipted {
	doc, err := json.Marshal(h.record)
	if err != nil {
		h.Fatal(err)
	}
	r, err := h.o.desk.Submit(h.o.t.Context(), Submission{Kind: h.kind, JSON: doc, Principal: access.Principal{Organization: rco(), Purpose: "COC"}, Allow: func(string) error { return nil }})
	if err != nil {
		h.Fatal(err)
	}
	return r.Records[0]
}

// own are the references of the record's resources that are not shared, as they were made.
func (h *history) own(r Receipted) (out []string) {
	sent, found, err := h.o.s.Sent(h.o.t.Context(), "rco", h.kind, r.Key)
	if err != nil || !found {
		h.Fatalf("the record is not on file: %v", err)
	}
	for _, k := range sent.Resources {
		if k.Type != "Provenance" && !h.gone[k.Reference().String()] {
			out = append(out, k.Reference().String())
		}
	}
	return out
}

// add puts an element that no mapping knows somewhere into a resource.
func (h *history) add(reference string) {
	body, err := decode([]byte(h.o.stored(reference)))
	if err != nil {
		h.Fatal(err)
	}
	h.n++
	mark := fmt.Sprintf("mark-%d-%d", h.n, rapid.IntRange(0, 1<<30).Draw(h.T, "mark"))
	extension := map[string]any{"url": "https://ehr.example/" + mark, "valueString": "x"}
	var places []map[string]any
	var visit func(v any)
	visit = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			if x["url"] == nil { // an extension has a value or extensions
				places = append(places, x)
			}
			for _, name := range slices.Sorted(maps.Keys(x)) {
				visit(x[name])
			}
		case []any:
			for _, item := range x {
				visit(item)
			}
		}
	}
	visit(body)
	place := places[rapid.IntRange(0, len(places)-1).Draw(h.T, "place")]
	have, _ := place["extension"].([]any)
	place["extension"] = append(have, extension)
	h.write(reference, body)
	if strings.Contains(h.o.stored(reference), mark) {
		h.marks[mark] = reference
	}
}

// alter gives a status another value, known to the mapping or not.
func (h *history) alter(reference string) {
	body, err := decode([]byte(h.o.stored(reference)))
	if err != nil {
		h.Fatal(err)
	}
	values := map[string][]string{"lifecycleStatus": {"active", "completed", "rejected"}, "priority": {"routine", "urgent"}, "description": {"x", "y"}, "title": {"x", "y"}}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, text := body[name].(string); text {
			body[name] = rapid.SampledFrom(values[name]).Draw(h.T, name)
		}
	}
	h.write(reference, body)
}

func (h *history) write(reference string, body map[string]any) {
	doc, err := json.Marshal(body)
	if err != nil {
		h.Fatal(err)
	}
	res, err := h.o.desk.parser.Parse(doc)
	if err != nil {
		return // the spot takes no extension of this form
	}
	verdict := h.o.desk.labels.Examine(res, label.Source{Organization: "rco"}, nil)
	if _, err := h.o.s.Apply(h.o.t.Context(), []store.Change{{Method: store.Update, Type: res.Type, ID: res.ID, Resource: res, Owner: "rco", Segment: verdict.Segment, Verdict: &verdict}}, nil); err != nil {
		h.Fatal(err)
	}
}

// edit changes the record as its keeper does: a scalar of a list item or of the record goes, or an item of a list.
func (h *history) edit() {
	before, err := json.Marshal(h.record)
	if err != nil {
		h.Fatal(err)
	}
	var places []func()
	var visit func(m map[string]any)
	visit = func(m map[string]any) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			places = append(places, func() { delete(m, name) })
			switch x := m[name].(type) {
			case map[string]any:
				visit(x)
			case []any:
				for _, item := range x {
					if kid, ok := item.(map[string]any); ok {
						visit(kid)
					}
				}
				if len(x) > 1 {
					places = append(places, func() { m[name] = x[1:] })
				}
			}
		}
	}
	visit(h.record)
	places[rapid.IntRange(0, len(places)-1).Draw(h.T, "edit")]()
	doc, err := json.Marshal(h.record)
	if err != nil {
		h.Fatal(err)
	}
	p := h.o.desk.packs[h.kind]
	_, key, err := p.Record(doc)
	_, was, err2 := p.Record(before)
	made, mapped := p.MapJSON(h.o.desk.environment(rco(), time.Unix(1767225600, 0)), doc)
	if err != nil || err2 != nil || key != was || mapped != nil || len(made.Records) != 1 { // no record of this kind any more
		h.record = nil
		if err := json.Unmarshal(before, &h.record); err != nil {
			h.Fatal(err)
		}
	}
}

// TestNothingAddedIsLost: whatever is added to the resources of a record elsewhere, in whatever order with deliveries and the
// keeper's own changes, is in them after each delivery, or a person was told why not; and a delivery sent again changes
// nothing.
func TestNothingAddedIsLost(t *testing.T) {
	t.Parallel()
	o := open(t)
	all := cases(t, o.desk)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(rt, "kind")
		h := &history{T: rt, o: o, kind: kind, marks: map[string]string{}, gone: map[string]bool{}}
		n++
		if err := json.Unmarshal([]byte(rapid.SampledFrom(all[kind]).Draw(rt, "case")), &h.record); err != nil {
			rt.Fatal(err)
		}
		h.another(fmt.Sprintf("K-%d", n))
		last := h.deliver()
		edited := false // or something was deleted: then what was added may have no place any more
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			own := h.own(last)
			if len(own) == 0 { // deleted elsewhere, or taken out by the keeper
				break
			}
			ref := own[rapid.IntRange(0, len(own)-1).Draw(rt, "resource")]
			switch rapid.SampledFrom([]string{"add", "add", "add", "alter", "delete", "edit", "deliver"}).Draw(rt, "step") {
			case "add":
				h.add(ref)
				continue
			case "alter":
				h.alter(ref)
				continue
			case "delete":
				if len(own) < 2 {
					continue
				}
				o.elsewhere(ref)
				h.gone[ref], edited = true, true
				maps.DeleteFunc(h.marks, func(_, in string) bool { return in == ref })
				continue
			case "edit":
				h.edit()
				edited = true
			}
			last = h.deliver()
			h.check(last, edited)
		}
		last = h.deliver()
		h.check(last, edited)
		before := map[string]string{}
		for _, m := range last.Resources {
			before[m.Reference] = o.stored(m.Reference)
		}
		again := h.deliver()
		for _, m := range again.Resources {
			if m.Status != "unchanged" {
				rt.Errorf("sent again: %s is %s\n%s\n%s\nit was %s\nand is %s", m.Reference, m.Status, told(t, last.Merge), told(t, again.Merge), before[m.Reference], o.stored(m.Reference))
			}
		}
		h.check(again, edited)
	})
	if err := o.s.CheckIndex(t.Context()); err != nil {
		t.Error(err)
	}
}

func (h *history) check(r Receipted, edited bool) {
	for _, mark := range slices.Sorted(maps.Keys(h.marks)) {
		ref := h.marks[mark]
		if strings.Contains(h.o.stored(ref), mark) {
			continue
		}
		told := r.Merge != nil && slices.ContainsFunc(r.Merge.Conflicts, func(c Conflict) bool { return c.Resource == ref })
		if !told || !edited {
			h.Errorf("%s in %s is lost; the receipt: %+v", mark, ref, r.Merge)
		}
		delete(h.marks, mark)
	}
}

// TestNobodyElse: without changes elsewhere a delivery stores exactly what the record maps to, whatever was delivered before.
func TestNobodyElse(t *testing.T) {
	t.Parallel()
	o := open(t)
	all := cases(t, o.desk)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(rt, "kind")
		h := &history{T: rt, o: o, kind: kind}
		n++
		if err := json.Unmarshal([]byte(rapid.SampledFrom(all[kind]).Draw(rt, "case")), &h.record); err != nil {
			rt.Fatal(err)
		}
		h.another(fmt.Sprintf("K-%d", n))
		for range rapid.IntRange(1, 4).Draw(rt, "deliveries") {
			r := h.deliver()
			if r.Merge != nil {
				rt.Fatalf("merged with nothing: %+v", r.Merge)
			}
			doc, err := json.Marshal(h.record)
			if err != nil {
				rt.Fatal(err)
			}
			result, err := o.desk.packs[kind].MapJSON(o.desk.environment(rco(), time.Unix(1767225600, 0)), doc)
			if err != nil {
				rt.Fatal(err)
			}
			for _, made := range result.Records[0].Resources {
				if made.Shared {
					continue
				}
				want, err := fhir.ReadTrusted(made.JSON)
				if err != nil {
					rt.Fatal(err)
				}
				have, err := fhir.ReadTrusted([]byte(o.stored(made.Type + "/" + made.ID)))
				if err != nil {
					rt.Fatal(err)
				}
				if fhir.ContentHash(want, made.ID) != fhir.ContentHash(have, made.ID) {
					rt.Fatalf("%s is stored otherwise than it is mapped", made.Type)
				}
			}
			h.edit()
		}
	})
}
