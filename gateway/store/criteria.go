package store

import (
	"context"

	"trellis/auth/label"
	"trellis/fhir/search"
)

// criteria adds the SQL of search criteria. In a compartment its sub-selects read one patient's range
// of the index; otherwise the whole type's.
type criteria struct {
	s             *Store
	ctx           context.Context
	tx            Tx
	b             *statement
	filter        compiled
	typeNo        int64
	pat           int64
	inCompartment bool
}

func (c *criteria) add(k search.Criterion) error {
	switch k.Code {
	case "_id":
		ids := Strings{}
		for _, v := range k.Values {
			ids = append(ids, v.Code)
		}
		c.b.add(c.s.dialect.In("r.id"), ids)
		return nil
	case "_lastUpdated":
		c.alternatives(len(k.Values), func(i int) { dateCondition(c.b, k.Values[i], "r.upd", "r.upd+1") })
		return nil
	}
	param, err := c.s.lookup(c.ctx, c.tx, dictParam, k.Code)
	if err != nil {
		return err
	}
	table := map[search.Kind]string{search.KindToken: "idx_token", search.KindReference: "idx_ref", search.KindDate: "idx_date", search.KindString: "idx_string"}[k.Kind]
	if k.Modifier == "not" || (k.Modifier == "missing" && k.Missing) {
		c.b.add("NOT ")
	}
	if k.Kind != search.KindReference || !redactable(k) {
		return c.rows(k, table, param, nil)
	}
	// A reference that release cuts must not be found either: the caller's own records match by what they
	// say, others by the references the caller may follow.
	c.b.add("(("+c.s.dialect.In("r.seg")+" AND ", c.filter.own)
	if err := c.rows(k, table, param, nil); err != nil {
		return err
	}
	c.b.add(") OR ")
	if err := c.rows(k, table, param, c.followable); err != nil {
		return err
	}
	c.b.add(")")
	return nil
}

// redactable reports whether a reference criterion could tell of a reference that release would cut.
func redactable(k search.Criterion) bool {
	if k.Modifier == "missing" {
		return true
	}
	for _, v := range k.Values {
		if v.RefType != "Patient" && !label.Directory(v.RefType) {
			return true
		}
	}
	return false
}

// rows adds the condition that the row has an index row of the criterion; more narrows those.
func (c *criteria) rows(k search.Criterion, table string, param int64, more func() error) error {
	c.b.add("r.rid IN (SELECT x.rid FROM " + table + " x WHERE x.part=0")
	if c.inCompartment {
		c.b.add(" AND x.pat=?", c.pat)
	}
	c.b.add(" AND x.type_no=? AND x.param=?", c.typeNo, param)
	if k.Modifier != "missing" {
		c.b.add(" AND ")
		if err := c.values(k); err != nil {
			return err
		}
	}
	if more != nil {
		if err := more(); err != nil {
			return err
		}
	}
	c.b.add(")")
	return nil
}

// followable keeps references whose target the caller may see: Patients and directory entries, which
// release never cuts, canonical URLs, and visible resources.
func (c *criteria) followable() error {
	c.b.add(" AND (x.ttype=0 OR x.ttype IN (SELECT no FROM dict WHERE kind=1 AND " + c.s.dialect.In("name") + ") OR EXISTS (SELECT 1 FROM res rt WHERE rt.part=0 AND rt.type_no=x.ttype AND rt.id=x.tid AND rt.del=0 AND ")
	c.b.args = append(c.b.args, Strings(append([]string{"Patient"}, label.DirectoryTypes()...)))
	c.s.visibleRow(c.b, c.filter, "rt")
	c.b.add("))")
	return nil
}

func (c *criteria) values(k search.Criterion) error {
	switch k.Kind {
	case search.KindToken:
		return c.tokens(k.Values)
	case search.KindReference:
		return c.references(k.Values)
	case search.KindDate:
		c.alternatives(len(k.Values), func(i int) { dateCondition(c.b, k.Values[i], "x.lo", "x.hi") })
	default:
		c.alternatives(len(k.Values), func(i int) { c.text(k.Modifier, k.Values[i].Text) })
	}
	return nil
}

func (c *criteria) alternatives(n int, add func(i int)) {
	c.b.add("(")
	for i := range n {
		if i > 0 {
			c.b.add(" OR ")
		}
		add(i)
	}
	c.b.add(")")
}

// tokens groups values by system, so that long lists become lists and not long ORs.
func (c *criteria) tokens(values []search.Value) error {
	groups := map[int64]Strings{} // system number -> codes
	var anySystem Strings
	var whole Int64s
	for _, v := range values {
		sys := int64(0)
		switch {
		case v.AnySystem:
			anySystem = append(anySystem, v.Code)
			continue
		case v.System != "":
			no, err := c.s.lookup(c.ctx, c.tx, dictSystem, v.System)
			if err != nil {
				return err
			}
			if sys = no; no == 0 {
				sys = -1 // a system never stored matches nothing
			}
		}
		if v.Code == "" {
			whole = append(whole, sys)
			continue
		}
		groups[sys] = append(groups[sys], v.Code)
	}
	c.b.add("(1=0")
	if len(anySystem) > 0 {
		c.b.add(" OR "+c.s.dialect.In("x.code"), anySystem)
	}
	if len(whole) > 0 {
		c.b.add(" OR "+c.s.dialect.In("x.sys"), whole)
	}
	for sys, codes := range groups {
		c.b.add(" OR (x.sys=? AND "+c.s.dialect.In("x.code")+")", sys, codes)
	}
	c.b.add(")")
	return nil
}

func (c *criteria) references(values []search.Value) error {
	groups := map[string]Strings{}
	for _, v := range values {
		groups[v.RefType] = append(groups[v.RefType], v.RefID)
	}
	c.b.add("(1=0")
	for typ, ids := range groups {
		if typ == "" {
			c.b.add(" OR "+c.s.dialect.In("x.tid"), ids)
			continue
		}
		no, err := c.s.lookup(c.ctx, c.tx, dictType, typ)
		if err != nil {
			return err
		}
		c.b.add(" OR (x.ttype=? AND "+c.s.dialect.In("x.tid")+")", no, ids)
	}
	c.b.add(")")
	return nil
}

func (c *criteria) text(modifier, text string) {
	switch modifier {
	case "exact":
		c.b.add("x.exact=?", text)
	case "contains":
		c.b.add(c.s.dialect.Contains+"(x.folded,?)>0", text)
	default:
		c.b.add("(x.folded>=? AND x.folded<?)", text, upperBound(text))
	}
}

// dateCondition compares a half-open span with a search value (R4 3.1.1.4.7): equality is containment.
func dateCondition(b *statement, v search.Value, lo, hi string) {
	q := v.Range
	contained := func() { b.add("("+lo+">=? AND "+hi+"<=?)", q.Lo, q.Hi) }
	switch v.Prefix {
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
	default:
		contained()
	}
}
