package store

import (
	"slices"

	"trellis/auth/access"
	"trellis/auth/label"
)

// within adds the condition that a token reaches row r of a type ("" for any): that one of the type's clauses holds. The
// index tells about a resource as it stands: of a body row, for which head is false, clauses that ask it never hold.
func (s *Store) within(b *statement, c compiled, r, typ string, head bool) error {
	if c.limits == nil {
		return nil
	}
	b.add(" AND ")
	if typ != "" {
		return s.clauses(b, c, r, typ, c.limits.Types[typ], head)
	}
	return s.withinAny(b, c, r, head)
}

// withinAny is within for a row whose type is not known: the types with equal clauses that need no index together, each
// other one by itself.
func (s *Store) withinAny(b *statement, c compiled, r string, head bool) error {
	var open, walled, apart []string
	for typ, list := range c.limits.Types {
		switch reach(list) {
		case reachAll:
			open = append(open, typ)
		case reachCompartment:
			walled = append(walled, typ)
		case reachSome:
			apart = append(apart, typ)
		}
	}
	slices.Sort(apart)
	b.add("(")
	for _, group := range []struct {
		types []string
		wall  bool
	}{{open, false}, {walled, true}} {
		numbers, err := s.typeNumbers(c, group.types)
		if err != nil {
			return err
		}
		b.inNumbers(s.dialect, r+".type_no", numbers)
		if group.wall {
			b.add(" AND ")
			if err := s.walledAny(b, c, r); err != nil {
				return err
			}
		}
		b.add(" OR ")
	}
	for _, typ := range apart {
		no, err := s.lookup(c.ctx, c.tx, dictType, typ)
		if err != nil {
			return err
		}
		if no == 0 { // there is none of it
			continue
		}
		b.add("("+r+".type_no=? AND ", no)
		if err := s.clauses(b, c, r, typ, c.limits.Types[typ], head); err != nil {
			return err
		}
		b.add(") OR ")
	}
	b.add("1=0)")
	return nil
}

func (s *Store) typeNumbers(c compiled, types []string) (Int64s, error) {
	out := Int64s{}
	for _, typ := range types {
		no, err := s.lookup(c.ctx, c.tx, dictType, typ)
		if err != nil {
			return nil, err
		}
		if no != 0 {
			out = append(out, no)
		}
	}
	slices.Sort(out)
	return out, nil
}

// What clauses leave of a type: all of it, all of the launch patient's, or what conditions say.
const (
	reachNone = iota
	reachSome
	reachCompartment
	reachAll
)

func reach(list []access.Clause) int {
	out := reachNone
	for _, clause := range list {
		switch {
		case clause.Where != nil:
			out = max(out, reachSome)
		case clause.Compartment:
			out = max(out, reachCompartment)
		default:
			return reachAll
		}
	}
	return out
}

// clauses adds the condition that one of a type's clauses holds for row r.
func (s *Store) clauses(b *statement, c compiled, r, typ string, list []access.Clause, head bool) error {
	switch reach(list) {
	case reachAll:
		b.add("1=1")
		return nil
	case reachCompartment: // whatever else there is lies within it
		if !slices.ContainsFunc(list, func(clause access.Clause) bool { return !clause.Compartment }) {
			s.walled(b, c, r, typ)
			return nil
		}
	}
	b.add("(1=0")
	for _, clause := range list {
		if clause.Where != nil && !head {
			continue
		}
		b.add(" OR (1=1")
		if clause.Compartment {
			b.add(" AND ")
			s.walled(b, c, r, typ)
		}
		if clause.Where != nil {
			b.add(" AND ")
			w := where{s: s, ctx: c.ctx, tx: c.tx, b: b, filter: c.unlimited(), typ: typ, row: r, depth: limitDepth}
			if err := w.add(clause.Where); err != nil {
				return err
			}
		}
		b.add(")")
	}
	b.add(")")
	return nil
}

// limitDepth keeps the aliases of limits apart from those of the query they stand in.
const limitDepth = 50

// unlimited is the filter without limits but for their walls: what stands in a limit is asked of that.
func (c compiled) unlimited() compiled {
	if c.limits != nil {
		c.limits = &access.Limits{Patient: c.limits.Patient, Walled: c.limits.Walled}
	}
	return c
}

// walled adds the condition that row r of a type lies in the launch patient's compartment and in no other, or is
// shared: about nobody, and a directory entry or a thing.
func (s *Store) walled(b *statement, c compiled, r, typ string) {
	if label.Directory(typ) || access.SharedType(typ) {
		b.add("("+r+".npat=0 OR ("+r+".pat=? AND "+r+".npat<2))", c.launch)
		return
	}
	b.add("("+r+".pat=? AND "+r+".npat<2)", c.launch)
}

// walledAny is walled for a row of any type.
func (s *Store) walledAny(b *statement, c compiled, r string) error {
	shared, err := s.typeNumbers(c, append(label.DirectoryTypes(), access.SharedTypes()...))
	if err != nil {
		return err
	}
	b.add("(("+r+".pat=? AND "+r+".npat<2) OR ("+r+".npat=0 AND ", c.launch)
	b.inNumbers(s.dialect, r+".type_no", shared)
	b.add("))")
	return nil
}

// exactly reports whether limits take nothing from what a caller sees of a type in a patient's exact view: there every
// row is about that patient alone.
func (c compiled) exactly(typ string, pat int64) bool {
	if c.limits == nil {
		return true
	}
	switch reach(c.limits.Types[typ]) {
	case reachAll:
		return true
	case reachCompartment:
		return pat == c.launch
	}
	return false
}
