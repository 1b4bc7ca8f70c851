package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"trellis/auth/label"
	"trellis/fhir/search"
)

// where adds the SQL of a query's conditions about one row of res. In a compartment its sub-selects read one
// patient's range of the index, and each is computed once; otherwise they probe the index for the row, or
// read what one value has in common.
type where struct {
	s      *Store
	ctx    context.Context
	tx     Tx
	b      *statement
	filter compiled
	typ    string // resource type of the row; "" for any
	row    string // alias of the row
	pat    int64  // the compartment, when inside
	inside bool
	list   bool // nothing narrows the rows yet: read what the values give, once, instead of probing each row
	depth  int  // of sub-selects, for their aliases
}

func (w where) add(c search.Condition) error {
	switch c := c.(type) {
	case search.And:
		return w.join(c, " AND ", "1=1")
	case search.Or:
		return w.join(c, " OR ", "1=0")
	case search.Not:
		w.b.add("NOT (")
		err := w.add(c.Condition)
		w.b.add(")")
		return err
	case search.Index:
		return w.index(c)
	case search.Element:
		return w.element(c)
	case search.Near:
		return w.near(c)
	case search.Chain:
		return w.chain(c)
	case search.Has:
		return w.has(c)
	case search.Field:
		return w.field(c)
	case search.Label:
		return w.label(c)
	case search.Typed:
		return w.typed(c)
	}
	return fmt.Errorf("store: a %T cannot stand here", c)
}

func (w where) join(list []search.Condition, word, empty string) error {
	if len(list) == 0 {
		w.b.add(empty)
		return nil
	}
	w.b.add("(")
	for i, c := range list {
		if i > 0 {
			w.b.add(word)
		}
		if err := w.add(c); err != nil {
			return err
		}
	}
	w.b.add(")")
	return nil
}

func (w where) field(c search.Field) error {
	switch c.Name {
	case "_id":
		ids := make(Strings, 0, len(c.Values))
		for _, v := range c.Values {
			ids = append(ids, v.Code)
		}
		w.b.inTexts(w.s.dialect, w.row+".id", ids)
		return nil
	case "_lastUpdated":
		w.b.alternatives(len(c.Values), func(i int) { ordered(w.b, c.Values[i].Prefix, c.Values[i].Range, w.row+".upd", w.row+".upd+1") })
		return nil
	case "_type":
		numbers := make(Int64s, 0, len(c.Values))
		for _, v := range c.Values {
			no, err := w.s.lookup(w.ctx, w.tx, dictType, v.Code)
			if err != nil {
				return err
			}
			numbers = append(numbers, no)
		}
		w.b.inNumbers(w.s.dialect, w.row+".type_no", numbers)
		return nil
	case "_period":
		w.b.alternatives(len(c.Values), func(i int) {
			w.b.add("("+w.row+".lo<? AND "+w.row+".hi>?)", c.Values[i].Range.Hi, c.Values[i].Range.Lo)
		})
		return nil
	}
	return fmt.Errorf("store: no column for %s", c.Name)
}

// label holds for rows of the segments that release one of the labels.
func (w where) label(c search.Label) error {
	var segments Int64s
	for no, seg := range w.s.knownSegments() {
		if bears(seg, c.Values) {
			segments = append(segments, no)
		}
	}
	w.b.inNumbers(w.s.dialect, w.row+".seg", segments)
	return nil
}

func bears(seg label.Segment, values []search.Value) bool {
	if len(values) == 0 {
		return len(seg.Security()) > 0
	}
	for _, l := range seg.Security() {
		for _, v := range values {
			if (v.AnySystem || v.System == l.System) && (v.Code == "" || v.Code == l.Code) {
				return true
			}
		}
	}
	return false
}

// params are the numbers of index parameters of the row's type; 0, which no row carries, for one never stored.
func (w where) params(typ string, codes []string) (Int64s, error) {
	out := make(Int64s, 0, len(codes))
	for _, code := range codes {
		no, err := w.s.lookup(w.ctx, w.tx, dictParam, paramName(typ, code))
		if err != nil {
			return nil, err
		}
		out = append(out, no)
	}
	return out, nil
}

// equalTo is "column=?" or the list form: plans for one value are better.
func (w where) equalTo(column string, values Int64s) {
	if len(values) == 1 {
		w.b.add(column+"=?", values[0])
		return
	}
	w.b.inNumbers(w.s.dialect, column, values)
}

// alias names the rows of a sub-select.
func (w where) alias() string { return "x" + strconv.Itoa(w.depth) }

// rows opens a condition that the row has an index row in table, and returns the alias of those and what
// closes it. point says that few values compared for equality follow: then a probe of the whole key is cheap.
func (w where) rows(table string, params Int64s, point bool) (x, end string) {
	x = w.alias()
	if w.inside && point {
		// A scalar, not EXISTS: PostgreSQL would turn that into a join and give up the order of the compartment. It is
		// true or false, never unknown: it may stand under a NOT.
		w.b.add("(SELECT 1 FROM "+table+" "+x+" WHERE "+x+".part=0 AND "+x+".rid="+w.row+".rid AND "+x+".pat=? AND ", w.pat)
		w.equalTo(x+".param", params)
		return x, " LIMIT 1) IS NOT NULL"
	}
	if w.inside {
		w.b.add(w.row+".rid IN (SELECT "+x+".rid FROM "+table+" "+x+" WHERE "+x+".part=0 AND "+x+".pat=? AND ", w.pat)
		w.equalTo(x+".param", params)
		return x, ")"
	}
	if w.list {
		w.b.add(w.row + ".rid IN (SELECT " + x + ".rid FROM " + table + " " + x + " WHERE " + x + ".part=0 AND ")
		w.equalTo(x+".param", params)
		return x, ")"
	}
	w.b.add("EXISTS (SELECT 1 FROM " + table + " " + x + " WHERE " + x + ".part=0 AND " + x + ".rid=" + w.row + ".rid AND " + x + ".pat=" + w.row + ".pat AND ")
	w.equalTo(x+".param", params)
	return x, ")"
}

var kindTables = map[search.Kind]string{
	search.KindToken: "idx_token", search.KindReference: "idx_ref", search.KindURI: "idx_uri", search.KindDate: "idx_date",
	search.KindNumber: "idx_number", search.KindQuantity: "idx_number", search.KindString: "idx_string", search.KindComposite: "idx_element",
}

func (w where) index(c search.Index) error {
	table, ok := kindTables[c.Kind]
	if !ok {
		return fmt.Errorf("store: no index for kind %s", c.Kind)
	}
	params, err := w.params(w.typ, c.Params)
	if err != nil {
		return err
	}
	if c.Kind == search.KindReference && redactable(c) {
		return w.redacted(c, params)
	}
	if c.Kind == search.KindURI && slices.Contains(c.Params, "_source") { // release tells it to the custodian alone
		w.b.add("(")
		w.b.inNumbers(w.s.dialect, w.row+".seg", w.filter.own)
		w.b.add(" AND ")
		defer w.b.add(")")
	}
	x, end := w.rows(table, params, point(c))
	if err := w.values(c, x); err != nil {
		return err
	}
	w.b.add(end)
	return nil
}

// maxPoints is how many values are probed one by one.
const maxPoints = 8

func point(c search.Index) bool {
	return !c.Other && (c.Kind == search.KindToken || c.Kind == search.KindReference) && len(c.Values) > 0 && len(c.Values) <= maxPoints
}

// redactable reports whether a reference condition could tell of a reference that release would cut.
func redactable(c search.Index) bool {
	if c.Target == "Patient" {
		return false
	}
	for _, v := range c.Values {
		if v.RefType != "Patient" {
			return true
		}
	}
	return len(c.Values) == 0
}

// redacted finds references as release shows them: the caller's own records match by what they say, others, and all where
// the token is confined to one patient, by the references the caller may follow.
func (w where) redacted(c search.Index, params Int64s) error {
	w.b.add("(")
	if !w.filter.walled() {
		w.b.add("(")
		w.b.inNumbers(w.s.dialect, w.row+".seg", w.filter.own)
		w.b.add(" AND ")
		x, end := w.rows("idx_ref", params, point(c))
		if err := w.values(c, x); err != nil {
			return err
		}
		w.b.add(end + ") OR ")
	}
	x, end := w.rows("idx_ref", params, point(c))
	if err := w.values(c, x); err != nil {
		return err
	}
	if err := w.followable(x); err != nil {
		return err
	}
	w.b.add(end + ")")
	return nil
}

// followable keeps index rows whose target the caller may see: Patients and directory entries, which release
// never cuts, and visible resources.
func (w where) followable(x string) error {
	rt := "t" + strconv.Itoa(w.depth)
	w.b.add(" AND EXISTS (SELECT 1 FROM res " + rt + " WHERE " + rt + ".part=0 AND " + rt + ".rid=" + x + ".target AND (")
	var open Int64s
	for _, typ := range append([]string{"Patient"}, label.DirectoryTypes()...) {
		no, err := w.s.lookup(w.ctx, w.tx, dictType, typ)
		if err != nil {
			return err
		}
		open = append(open, no)
	}
	w.b.inNumbers(w.s.dialect, rt+".type_no", open)
	w.b.add(" OR (" + rt + ".del=0 AND ")
	if err := w.s.followableRow(w.b, w.filter, rt); err != nil {
		return err
	}
	w.b.add(")) AND ")
	err := w.unnamed(rt)
	w.b.add(")")
	return err
}
