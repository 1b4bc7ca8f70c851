package search

import "trellis/fhir"

// maxHalves bounds one side of an element: rows are pairs, and a concept with thousands of codings must
// not make millions of them. What is beyond is not found by composite parameters.
const maxHalves = 32

// elements makes the pairs of a composite parameter over sub-elements.
func (x *extraction) elements(p *Parameter, root *fhir.Node) {
	for i := range p.composite.elems {
		e := &p.composite.elems[i]
		if p.composite.reads[i] != p.Code {
			continue
		}
		for _, n := range e.base.collect(nil, root, 0) {
			left := x.halves(e, 0, n)
			if len(left) == 0 {
				continue
			}
			right := x.halves(e, 1, n)
			for _, a := range left {
				for _, b := range right {
					x.v.Elements = appendNew(x.v.Elements, ElementRow{p.Code, a, b})
				}
			}
		}
	}
}

func (x *extraction) halves(e *elementSet, side int, n *fhir.Node) []Half {
	var out []Half
	for i := range e.halves[side] {
		for _, v := range e.halves[side][i].collect(nil, n, 0) {
			out = x.half(out, e.kinds[side], v)
			if len(out) >= maxHalves {
				return out[:maxHalves]
			}
		}
	}
	return out
}

func (x *extraction) half(out []Half, kind Kind, n *fhir.Node) []Half {
	switch kind {
	case KindToken:
		tokenValues(n, func(system, code string) { out = append(out, Half{System: cut(system), Code: cut(code)}) })
	case KindReference:
		text := n.Text()
		if n.Kind == '{' {
			text = n.Get("reference").Text()
		}
		if ref, ok := fhir.ParseReference(text, x.base); ok {
			out = append(out, Half{System: ref.Type, Code: ref.ID})
		}
	case KindDate:
		if rng, ok := dateSpan(n); ok {
			out = append(out, Half{Lo: rng.Lo, Hi: rng.Hi})
		}
	case KindString:
		if s := n.Text(); s != "" {
			out = append(out, Half{Code: cut(Fold(s))})
		}
	case KindURI:
		if s := n.Text(); s != "" {
			out = append(out, Half{Code: cut(s)})
		}
	case KindNumber, KindQuantity:
		if unit, rng, ok := quantitySpan(n); ok {
			out = append(out, Half{System: unit.System, Code: unit.Code, Lo: rng.Lo, Hi: rng.Hi})
		}
	}
	return out
}
