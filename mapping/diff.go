package mapping

import (
	"maps"
	"slices"
)

// A Difference is one place in which two versions of something differ. A nil value means absent.
type Difference struct {
	Path string `json:"path"`
	Old  any    `json:"old"`
	New  any    `json:"new"`
}

// ResourceDiff is a resource that two runs make differently, or only one of them makes.
type ResourceDiff struct {
	Reference string       `json:"reference"`
	Slot      string       `json:"slot"`
	Status    string       `json:"status"` // added, removed or changed
	Elements  []Difference `json:"elements,omitempty"`
	// Labels that only one side has, as +CODE and -CODE.
	Labels []string `json:"labels,omitempty"`
}

// DiffResults compares what two runs made: of an old and a new record with one pack, or of one record with two versions of
// a pack. What says when and from which bytes a record was mapped (Provenance) is not compared.
func DiffResults(before, after *Result) ([]ResourceDiff, error) {
	a, orderA := byReference(before)
	b, orderB := byReference(after)
	out := []ResourceDiff{}
	for _, ref := range orderA {
		old := a[ref]
		now, ok := b[ref]
		if !ok {
			out = append(out, ResourceDiff{Reference: ref, Slot: old.Slot, Status: "removed"})
			continue
		}
		x, err := decodeJSON(old.JSON)
		if err != nil {
			return nil, err
		}
		y, err := decodeJSON(now.JSON)
		if err != nil {
			return nil, err
		}
		d := ResourceDiff{Reference: ref, Slot: old.Slot, Status: "changed", Elements: Differences(x, y, old.Type), Labels: labelDiff(old.Labels, now.Labels)}
		if len(d.Elements)+len(d.Labels) > 0 {
			out = append(out, d)
		}
	}
	for _, ref := range orderB {
		if _, ok := a[ref]; !ok {
			out = append(out, ResourceDiff{Reference: ref, Slot: b[ref].Slot, Status: "added"})
		}
	}
	return out, nil
}

func byReference(res *Result) (map[string]Resource, []string) {
	out := map[string]Resource{}
	var order []string
	for i := range res.Records {
		for _, r := range res.Records[i].Resources {
			ref := r.Type + "/" + r.ID
			if r.Type == "Provenance" {
				continue
			}
			if _, dup := out[ref]; !dup {
				order = append(order, ref)
			}
			out[ref] = r
		}
	}
	return out, order
}

func labelDiff(before, after []Label) []string {
	has := func(list []Label, code string) bool {
		return slices.ContainsFunc(list, func(l Label) bool { return l.Code == code })
	}
	var out []string
	for _, l := range before {
		if !has(after, l.Code) {
			out = append(out, "-"+l.Code)
		}
	}
	for _, l := range after {
		if !has(before, l.Code) {
			out = append(out, "+"+l.Code)
		}
	}
	return out
}

// Differences compares decoded JSON, place by place below path. Lists of one length are compared item by item, others as a
// whole; the order of their items does not count.
func Differences(before, after any, path string) []Difference {
	if same(before, after) || sameItems(before, after) {
		return nil
	}
	if a, ok := before.(map[string]any); ok {
		if b, ok := after.(map[string]any); ok {
			names := slices.Collect(maps.Keys(a))
			for name := range b {
				if _, dup := a[name]; !dup {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			var out []Difference
			for _, name := range names {
				out = append(out, Differences(a[name], b[name], below(path, name))...)
			}
			return out
		}
	}
	if a, ok := before.([]any); ok {
		if b, ok := after.([]any); ok && len(a) == len(b) {
			var out []Difference
			for i := range a {
				out = append(out, Differences(a[i], b[i], path+"["+itoa(i)+"]")...)
			}
			return out
		}
	}
	return []Difference{{Path: path, Old: before, New: after}}
}
