package store

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
)

// programs is what is known of Part 2 programs: their Organization ids, and the segments of the directory entries they
// wrote about themselves. That somebody's record names one tells that the person is known there (2.13(c)).
type programs struct {
	ids      Strings
	segments Int64s
}

// programsLife is how long the list is used: a new program is known to every replica within it.
const programsLife = time.Second

type programCache struct {
	mu    sync.Mutex
	known programs
	at    time.Time
	made  int // segments there were
}

// programsNow is the deployment's Part 2 programs.
func (s *Store) programsNow(ctx context.Context, tx Tx) (programs, error) {
	s.programs.mu.Lock()
	defer s.programs.mu.Unlock()
	if n := s.KnownSegments(); time.Since(s.programs.at) < programsLife && s.programs.made == n {
		return s.programs.known, nil
	}
	var p programs
	orgs, err := organizations(ctx, tx)
	if err != nil {
		return p, err
	}
	for _, o := range orgs {
		if o.Part2() && o.ID != access.OperatorID {
			p.ids = append(p.ids, o.ID)
		}
	}
	segments := s.knownSegments()
	for no, seg := range segments {
		if seg.Directory && slices.Contains(p.ids, seg.Custodian) {
			p.segments = append(p.segments, no)
		}
	}
	slices.Sort(p.segments)
	s.programs.known, s.programs.at, s.programs.made = p, time.Now(), len(segments)
	return p, nil
}

// entryOf adds the condition that row r is a program's directory entry.
func (s *Store) entryOf(b *statement, p programs, r string, organization int64) {
	b.add("(("+r+".type_no=? AND ", organization)
	b.inTexts(s.dialect, r+".id", p.ids)
	b.add(") OR ")
	b.inNumbers(s.dialect, r+".seg", p.segments)
	b.add(")")
}

// Programs tells which references in rows lead to the directory entry of a Part 2 program, and whose. Rows of the
// program's own and of the caller are not asked about: who holds those knows.
func (s *Store) Programs(ctx context.Context, f access.Filter, rows []Row) (found map[fhir.Reference]string, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		found, err = s.programsIn(ctx, tx, f, rows)
		return err
	})
	return found, err
}

func (s *Store) programsIn(ctx context.Context, tx Tx, f access.Filter, rows []Row) (map[fhir.Reference]string, error) {
	byType := map[string]Strings{}
	for i := range rows {
		seg := s.Segment(rows[i].Segment)
		if seg.Directory || seg.Custodian == f.Organization && f.Organization != "" {
			continue
		}
		for _, ref := range rows[i].sealed.Refs {
			if label.Directory(ref.Type) && !slices.Contains(byType[ref.Type], ref.ID) {
				byType[ref.Type] = append(byType[ref.Type], ref.ID)
			}
		}
	}
	if len(byType) == 0 {
		return nil, nil
	}
	p, err := s.programsNow(ctx, tx)
	if err != nil {
		return nil, err
	}
	out := map[fhir.Reference]string{}
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		for _, id := range byType[typ] {
			if typ == "Organization" && slices.Contains(p.ids, id) {
				out[fhir.Reference{Type: typ, ID: id}] = id
			}
		}
		if len(p.segments) == 0 {
			continue
		}
		if err := s.entries(ctx, tx, p, typ, byType[typ], out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// entries finds which directory entries programs wrote.
func (s *Store) entries(ctx context.Context, tx Tx, p programs, typ string, ids Strings, out map[fhir.Reference]string) error {
	typeNo, err := s.lookup(ctx, tx, dictType, typ)
	if err != nil {
		return err
	}
	slices.Sort(ids)
	var b statement
	b.add("SELECT r.id,r.seg FROM res r WHERE r.part=0 AND r.type_no=? AND ", typeNo)
	b.inTexts(s.dialect, "r.id", ids)
	b.add(" AND ")
	b.inNumbers(s.dialect, "r.seg", p.segments)
	s.counts.add("programs")
	return each(ctx, tx, b.String(), b.args, func(r Rows) error {
		var id string
		var seg int64
		err := r.Scan(&id, &seg)
		if ref := (fhir.Reference{Type: typ, ID: id}); out[ref] == "" {
			out[ref] = s.custodian(seg)
		}
		return err
	})
}

// unnamed adds the condition that row r is no program's directory entry. What a consent adds is left to release, which
// has the facts: in others' records a search finds less than it shows, never more.
func (w where) unnamed(r string) error {
	p, err := w.s.programsNow(w.ctx, w.tx)
	if err != nil {
		return err
	}
	if len(p.ids) == 0 {
		w.b.add("1=1")
		return nil
	}
	organization, err := w.s.lookup(w.ctx, w.tx, dictType, "Organization")
	if err != nil {
		return err
	}
	w.b.add("NOT ")
	w.s.entryOf(w.b, p, r, organization)
	return nil
}

// unnamedTarget adds the condition that index row x of idx_ref leads to no program's entry, or stands in a record of the
// caller's own.
func (w where) unnamedTarget(x string) error {
	rt, ro := "n"+strconv.Itoa(w.depth), "o"+strconv.Itoa(w.depth)
	w.b.add(" AND (EXISTS (SELECT 1 FROM res " + ro + " WHERE " + ro + ".part=0 AND " + ro + ".rid=" + x + ".rid AND ")
	w.b.inNumbers(w.s.dialect, ro+".seg", w.filter.own)
	w.b.add(") OR EXISTS (SELECT 1 FROM res " + rt + " WHERE " + rt + ".part=0 AND " + rt + ".rid=" + x + ".target AND ")
	err := w.unnamed(rt)
	w.b.add("))")
	return err
}

// leadsToProgram reports whether a row's reference leads to a program's entry and may not be gone through: the row is
// neither the program's own nor, as what Programs found says, the caller's.
func (s *Store) leadsToProgram(row *Row, ref fhir.Reference, found map[fhir.Reference]string) bool {
	program, seg := found[ref], s.Segment(row.Segment)
	return program != "" && !seg.Directory && seg.Custodian != program
}
