package store

import (
	"context"
	"strings"

	"trellis/auth/access"
	"trellis/fhir"
)

// statement collects SQL and its arguments in step.
type statement struct {
	strings.Builder
	args []any
}

func (b *statement) add(sql string, args ...any) {
	b.WriteString(sql)
	b.args = append(b.args, args...)
}

// compiled is an access.Filter in the store's numbers. A name the store has never seen is number 0,
// which no row carries.
type compiled struct {
	own, open, whole Int64s
	org, purpose     int64
	thing            int64 // type number of access.ThingType
	parts            bool
	person           int64 // row key of the Patient a person's view is of; 0 for an organisation's
	limits           *access.Limits
	launch           int64           // row key of limits' Patient
	ctx              context.Context // limits are compiled where they are needed
	tx               Tx
}

func (s *Store) compile(ctx context.Context, tx Tx, f access.Filter) (compiled, error) {
	c := compiled{own: f.Own, open: f.Open, whole: f.Whole, parts: f.Parts, limits: f.Limits, launch: nobody, ctx: ctx, tx: tx}
	var err error
	if f.Patient != "" {
		if c.person, err = s.lookupKey(ctx, tx, fhir.Reference{Type: "Patient", ID: f.Patient}); err != nil {
			return c, err
		}
		if c.person == 0 {
			c.person = nobody
		}
	}
	if f.Things {
		if c.thing, err = s.lookup(ctx, tx, dictType, access.ThingType); err != nil {
			return c, err
		}
	}
	if f.Limits != nil && f.Limits.Patient != "" {
		if c.launch, err = s.lookupKey(ctx, tx, fhir.Reference{Type: "Patient", ID: f.Limits.Patient}); err != nil {
			return c, err
		}
	}
	if c.person != 0 { // a view that ends at one record
		c.open = c.whole
		if f.Organization, err = s.grantee(ctx, tx, c.person, f.Organization); err != nil {
			return c, err
		}
	}
	if c.org, err = s.lookup(ctx, tx, dictOrg, f.Organization); err != nil {
		return c, err
	}
	c.purpose, err = s.lookup(ctx, tx, dictPurpose, f.Purpose)
	return c, err
}

// grantee is whose grants of a patient a filter's Organization has.
func (s *Store) grantee(ctx context.Context, tx Tx, pat int64, organization string) (string, error) {
	if organization == "" {
		return "", nil
	}
	var epoch int64
	if _, err := one(ctx, tx, "SELECT epoch FROM patient_state WHERE part=0 AND pat=?", []any{pat}, &epoch); err != nil {
		return "", err
	}
	facts, err := s.currentFacts(ctx, tx, pat, epoch)
	return access.Grantee(organization, facts.Facts), err
}

// walled reports whether the caller is confined to one patient's compartment.
func (c compiled) walled() bool { return c.limits != nil && c.limits.Walled }

// nobody is no row's key.
const nobody = -1

// visible adds the condition that the caller may see row r (a res row) of a type, "" for any. It is the one place
// where access.Filter becomes SQL; every statement about resources goes through it.
func (s *Store) visible(b *statement, c compiled, typ string) error {
	return s.visibleRow(b, c, "r", typ)
}

// visibleRow is visible for a res row of any alias.
func (s *Store) visibleRow(b *statement, c compiled, r, typ string) error {
	s.permittedRow(b, c, r)
	return s.within(b, c, r, typ, true)
}

// visibleVersion adds the condition that the caller may see version v (a body row) of a visible row r: the
// version is the head's own, or what decided about it then permits it too. A version about several
// patients, other than the head's, stays hidden: who they were is not kept.
func (s *Store) visibleVersion(b *statement, c compiled, r, typ string) error {
	b.add("(v.ver=" + r + ".ver OR ((v.npat<2 OR ")
	b.inNumbers(s.dialect, "v.seg", c.own)
	b.add(") AND ")
	s.permittedRow(b, c, "v")
	if err := s.within(b, c, "v", typ, false); err != nil {
		return err
	}
	b.add("))")
	return nil
}

// followableRow adds the condition that release lets references to row r stand: the caller may have it, and it does not
// lie behind the walls of a compartment the token is confined to. Which types and contents a token was given says
// nothing about references to others.
func (s *Store) followableRow(b *statement, c compiled, r string) error {
	s.permittedRow(b, c, r)
	if !c.walled() {
		return nil
	}
	b.add(" AND ")
	return s.walledAny(b, c, r)
}

// permittedRow adds the condition that decisions permit a res row, or a body row, of any alias, whatever a token leaves
// of them. A filter serves many requests: its SQL is written once.
func (s *Store) permittedRow(b *statement, c compiled, r string) {
	if s.clock != nil { // the time is an argument then, and each statement has its own
		s.writeVisible(b, c, r)
		return
	}
	k := writtenKey{r, c.org, c.purpose, c.person, c.thing, c.parts, first(c.own), first(c.open), first(c.whole), len(c.own), len(c.open), len(c.whole)}
	w, ok := s.written.get(k)
	if !ok {
		var fresh statement
		s.writeVisible(&fresh, c, r)
		w = writtenFilter{sql: fresh.String(), args: fresh.args, filter: compiled{own: c.own, open: c.open, whole: c.whole}}
		s.written.put(k, w)
	}
	b.add(w.sql, w.args...)
}

func (s *Store) writeVisible(b *statement, c compiled, r string) {
	b.add("(")
	b.inNumbers(s.dialect, r+".seg", c.own)
	if c.person != 0 {
		b.add(" OR ("+r+".npat=0 AND "+r+".type_no=? AND ", c.thing)
		b.inNumbers(s.dialect, r+".seg", c.whole)
		b.add(") OR ("+r+".pat=? AND "+r+".npat<2 AND ", c.person)
		if c.org == 0 { // nobody grants a patient anything
			b.inNumbers(s.dialect, r+".seg", c.whole)
		} else {
			s.permitted(b, c, r, r+".pat")
		}
		b.add("))")
		return
	}
	b.add(" OR (" + r + ".pat<>0 AND ")
	s.permitted(b, c, r, r+".pat")
	b.add(" AND (" + r + ".npat<2 OR NOT EXISTS (SELECT 1 FROM res_also ra WHERE ra.part=0 AND ra.rid=" + r + ".rid AND NOT ")
	s.permitted(b, c, r, "ra.pat")
	b.add("))))")
}

// permitted adds what one patient's grants and the open segments say of row r.
func (s *Store) permitted(b *statement, c compiled, r, pat string) {
	const within, overlapping = "g.dlo<=%s.lo AND g.dhi>=%s.hi", "g.dlo<%s.hi AND g.dhi>%s.lo"
	grant := func(types, effect, period string) {
		b.add("EXISTS (SELECT 1 FROM grants g WHERE g.part=0 AND g.pat="+pat+" AND g.org=? AND g.purpose=? AND g.seg="+r+".seg AND g.type_no "+types+
			" AND g.effect="+effect+" AND g.rto=? AND "+strings.ReplaceAll(period, "%s", r)+" AND g.vfrom<=", c.org, c.purpose, int64(forever))
		s.nowExpr(b)
		b.add(" AND g.vto>")
		s.nowExpr(b)
		b.add(")")
	}
	// What costs least and answers most comes first: an open segment that no consent denies.
	refused := func() {
		b.add("NOT ")
		grant("IN (0,"+r+".type_no)", "0", overlapping)
	}
	b.add("((")
	b.inNumbers(s.dialect, r+".seg", c.open)
	b.add(" AND ")
	refused()
	b.add(") OR ")
	grant("="+r+".type_no", "1", within)
	if c.parts {
		b.add(" OR ")
		grant("IN (0,"+r+".type_no)", "2", within)
	}
	b.add(" OR (")
	grant("=0", "1", within)
	b.add(" AND ")
	refused()
	b.add("))")
}

// nowExpr adds the instant grants are compared with.
func (s *Store) nowExpr(b *statement) {
	if s.clock != nil {
		b.add("?", s.clock().UnixMicro())
		return
	}
	b.add(s.dialect.NowMicros)
}

// writtenKey tells filters apart by where their lists stand in memory. The entry holds the lists, so that no other can
// come to stand there.
type writtenKey struct {
	row                         string
	org, purpose, person, thing int64
	parts                       bool
	own, open, whole            *int64
	owns, opens, wholes         int
}

type writtenFilter struct {
	sql    string
	args   []any
	filter compiled
}

// maxWritten bounds the filters whose SQL is kept.
const maxWritten = 1000

func first(list Int64s) *int64 {
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}
