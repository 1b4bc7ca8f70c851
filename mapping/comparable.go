package mapping

import (
	"fmt"
	"sort"
)

// Comparable is a native record of a JSON pack in a form in which two versions of it can be compared: without the fields that
// are lost, without empty parts and values that are the schema's default, lists of objects in one order, scalars as texts.
func (p *Pack) Comparable(rec map[string]any, losses []Loss) any {
	lost := map[string]bool{}
	for _, l := range losses {
		lost[l.Field] = true
	}
	p.maps[0].tree.listed(rec)
	return p.canon(rec, "", lost, p.defaults())
}

func (p *Pack) canon(v any, at string, lost map[string]bool, defaults map[string]string) any {
	if lost[at] {
		return nil
	}
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, kid := range x {
			if c := p.canon(kid, below(at, k), lost, defaults); c != nil {
				out[k] = c
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, kid := range x {
			if c := p.canon(kid, at+"[]", lost, defaults); c != nil {
				out = append(out, c)
			}
		}
		if keys := p.maps[0].listKeys[at]; len(keys) == 0 && len(out) > 0 {
			if _, objects := out[0].(map[string]any); objects { // what groups items may bring them closer together
				sort.SliceStable(out, func(i, j int) bool { return fmt.Sprint(out[i]) < fmt.Sprint(out[j]) })
			}
		} else if len(keys) > 0 {
			sort.SliceStable(out, func(i, j int) bool { return keyText(out[i], keys) < keyText(out[j], keys) })
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	text, ok := scalar(v)
	if f, is := v.(float64); is {
		text, ok = fmt.Sprint(f), true
	}
	if !ok || text == defaults[at] {
		return nil
	}
	return text
}

// defaults are what fields mean that are left out.
func (p *Pack) defaults() map[string]string {
	out := map[string]string{}
	p.maps[0].tree.walk(func(t *fieldTree) {
		if t.def != "" {
			out[t.name] = t.def
		}
	})
	return out
}

func keyText(v any, keys [][]string) string {
	out := ""
	for _, segs := range keys {
		var at any = v
		for _, s := range segs {
			m, _ := at.(map[string]any)
			at = m[s]
		}
		out += fmt.Sprint(at) + "\x00"
	}
	return out
}

// Record decodes a native JSON record and checks it against the pack's schema; the second result is its key.
func (p *Pack) Record(data []byte) (map[string]any, string, error) {
	if p.Format != "json" {
		return nil, "", &InvalidError{Problems: []Problem{{Code: "wrong-format", Text: "this pack reads CSV files, not JSON records"}}}
	}
	rec, err := p.record(data)
	if err != nil {
		return nil, "", err
	}
	r := run{m: p.maps[0], record: rec}
	key, ok := r.key(p.maps[0].key)
	if !ok {
		return nil, "", &InvalidError{Problems: []Problem{{Code: "no-key", Text: "the record has no key"}}}
	}
	return rec, key, nil
}
