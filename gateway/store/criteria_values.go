package store

import (
	"strconv"
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
)

// values adds the comparison of index rows x with the values: any of them, or none asked for.
func (w where) values(c search.Index, x string) error {
	if c.Target != "" && c.Kind == search.KindReference && !typed(c) {
		if err := w.targetType(x, c.Target); err != nil {
			return err
		}
	}
	if len(c.Values) == 0 {
		return nil
	}
	w.b.add(" AND ")
	if c.Other {
		if c.Kind == search.KindToken { // an element without a code has a row as well
			w.b.add(x + ".code<>'' AND ")
		}
		w.b.add("NOT (")
		defer w.b.add(")")
	}
	switch c.Kind {
	case search.KindToken:
		return w.tokens(c.Values, x+".code", x+".sys")
	case search.KindReference:
		return w.references(c, x)
	case search.KindDate:
		w.b.alternatives(len(c.Values), func(i int) { ordered(w.b, c.Values[i].Prefix, c.Values[i].Range, x+".lo", x+".hi") })
		return nil
	case search.KindNumber, search.KindQuantity:
		return w.quantities(c.Values, x+".unit", x+".lo", x+".hi")
	case search.KindURI:
		w.texts(c.Mode, c.Values, x+".uri", x+".uri")
		return nil
	}
	w.texts(c.Mode, c.Values, x+".folded", x+".exact")
	return nil
}

// typed reports whether the values name the target type themselves.
func typed(c search.Index) bool {
	for _, v := range c.Values {
		if v.RefType != "" && v.RefType != c.Target {
			return false
		}
	}
	return len(c.Values) > 0
}

// targetType keeps references to one type.
func (w where) targetType(x, typ string) error {
	no, err := w.s.lookup(w.ctx, w.tx, dictType, typ)
	if err != nil {
		return err
	}
	rt := "k" + strconv.Itoa(w.depth)
	w.b.add(" AND EXISTS (SELECT 1 FROM res "+rt+" WHERE "+rt+".part=0 AND "+rt+".rid="+x+".target AND "+rt+".type_no=?)", no)
	return nil
}

func (b *statement) alternatives(n int, add func(i int)) {
	b.add("(")
	for i := range n {
		if i > 0 {
			b.add(" OR ")
		}
		add(i)
	}
	b.add(")")
}

// tokens groups values by system, so that long lists become lists and not long ORs.
func (w where) tokens(values []search.Value, code, sys string) error {
	groups := map[int64]Strings{} // system number -> codes
	var anySystem Strings
	var whole Int64s
	for _, v := range values {
		no := int64(0)
		switch {
		case v.AnySystem:
			anySystem = append(anySystem, v.Code)
			continue
		case v.System != "":
			var err error
			if no, err = w.s.lookup(w.ctx, w.tx, dictSystem, v.System); err != nil {
				return err
			}
			if no == 0 {
				no = -1 // a system never stored matches nothing
			}
		}
		if v.Code == "" {
			whole = append(whole, no)
			continue
		}
		groups[no] = append(groups[no], v.Code)
	}
	if len(anySystem) == 1 && len(whole)+len(groups) == 0 {
		w.b.add(code+"=?", anySystem[0])
		return nil
	}
	if len(anySystem)+len(whole) == 0 && len(groups) == 1 { // plain conjuncts seek
		for no, codes := range groups {
			if len(codes) == 1 {
				w.b.add(code+"=? AND "+sys+"=?", codes[0], no)
			} else {
				w.b.add(w.s.dialect.In(code)+" AND "+sys+"=?", codes, no)
			}
		}
		return nil
	}
	w.b.add("(1=0")
	if len(anySystem) > 0 {
		w.b.add(" OR "+w.s.dialect.In(code), anySystem)
	}
	if len(whole) > 0 {
		w.b.add(" OR "+w.s.dialect.In(sys), whole)
	}
	for no, codes := range groups {
		w.b.add(" OR ("+sys+"=? AND "+w.s.dialect.In(code)+")", no, codes)
	}
	w.b.add(")")
	return nil
}

// references compares targets by row key. An id without a type leads to any type of that id.
func (w where) references(c search.Index, x string) error {
	var targets Int64s
	var untyped Strings
	for _, v := range c.Values {
		typ := v.RefType
		if typ == "" {
			typ = c.Target
		}
		if typ == "" {
			untyped = append(untyped, v.RefID)
			continue
		}
		k, err := w.s.lookupKey(w.ctx, w.tx, fhir.Reference{Type: typ, ID: v.RefID})
		if err != nil {
			return err
		}
		targets = append(targets, k)
	}
	w.b.add("(")
	w.equalTo(x+".target", targets)
	if len(untyped) > 0 {
		rt := "u" + strconv.Itoa(w.depth)
		w.b.add(" OR EXISTS (SELECT 1 FROM res "+rt+" WHERE "+rt+".part=0 AND "+rt+".rid="+x+".target AND "+w.s.dialect.In(rt+".id")+")", untyped)
	}
	w.b.add(")")
	return nil
}

// quantities compares in each stored unit a value can be expressed in.
func (w where) quantities(values []search.Value, unit, lo, hi string) error {
	units := w.s.units()
	w.b.alternatives(len(values), func(i int) {
		v := values[i]
		if v.Unit == (search.Unit{}) {
			rng, _ := v.In(search.Unit{})
			ordered(w.b, v.Prefix, rng, lo, hi)
			return
		}
		w.b.add("(1=0")
		for no, u := range units {
			if rng, ok := v.In(u); ok {
				w.b.add(" OR ("+unit+"=? AND ", no)
				ordered(w.b, v.Prefix, rng, lo, hi)
				w.b.add(")")
			}
		}
		w.b.add(")")
	})
	return nil
}

func (w where) texts(mode search.Mode, values []search.Value, folded, exact string) {
	if mode == search.Exact && len(values) > 1 {
		list := make(Strings, 0, len(values))
		for _, v := range values {
			list = append(list, v.Text)
		}
		w.b.add(w.s.dialect.In(exact), list)
		return
	}
	w.b.alternatives(len(values), func(i int) {
		text := values[i].Text
		switch mode {
		case search.Exact:
			w.b.add(exact+"=?", text)
		case search.Same:
			w.b.add(folded+"=?", text)
		case search.Contains:
			w.b.add(w.s.dialect.Contains+"("+folded+",?)>0", text)
		case search.Ends:
			w.b.add(strings.ReplaceAll(w.s.dialect.EndsFormat, "%s", folded), text, text)
		case search.Below:
			w.b.add("("+exact+"=? OR ("+exact+">=? AND "+exact+"<?))", text, text+"/", upperBound(text+"/"))
		case search.Prefix:
			w.b.add("("+folded+">=? AND "+folded+"<?)", text, upperBound(text))
		default:
			w.b.add("1=0") // a mode this store does not know finds nothing
		}
	})
}

// ordered compares a half-open span with a search value (R4 3.1.1.4.7): equality is containment.
func ordered(b *statement, prefix string, q search.Range, lo, hi string) {
	contained := func() { b.add("("+lo+">=? AND "+hi+"<=?)", q.Lo, q.Hi) }
	switch prefix {
	case "ne":
		b.add("NOT ")
		contained()
	case "gt":
		b.add(hi+">?", q.Hi)
	case "lt":
		b.add(lo+"<?", q.Lo)
	case "ge":
		b.add("("+hi+">? OR ", q.Hi)
		contained()
		b.add(")")
	case "le":
		b.add("("+lo+"<? OR ", q.Lo)
		contained()
		b.add(")")
	case "sa":
		b.add(lo+">=?", q.Hi)
	case "eb":
		b.add(hi+"<=?", q.Lo)
	case "ap":
		b.add("("+lo+"<? AND "+hi+">?)", q.Hi, q.Lo)
	case search.Includes:
		b.add("("+lo+"<=? AND "+hi+">=?)", q.Lo, q.Hi)
	default:
		contained()
	}
}

// upperBound is the first text after every text that starts with prefix.
func upperBound(prefix string) string { return prefix + lastText }
