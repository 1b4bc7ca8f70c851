package store

import (
	"context"
	"slices"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir"
)

// Hidden lists the references in rows that the caller may not follow, and that release therefore cuts. References to
// directory entries and Patients stay, and all of a caller's own records but
// where a token confines it to one patient.
func (s *Store) Hidden(ctx context.Context, f access.Filter, rows []Row) (map[fhir.Reference]bool, error) {
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	c := compiled{own: f.Own, open: f.Open, org: s.cached(dictOrg, f.Organization), purpose: s.cached(dictPurpose, f.Purpose), limits: f.Limits}
	if f.Patient != "" {
		c.person = nobody // whose key it is does not matter yet
	}
	ask := s.unknown(c, rows, s.ownRow(f), now)
	if len(ask) == 0 {
		return nil, nil
	}
	hidden := map[fhir.Reference]bool{}
	err = s.engine.Read(ctx, func(tx Tx) error {
		if c, err = s.compile(ctx, tx, f); err != nil {
			return err
		}
		return s.follow(ctx, tx, c, ask, hidden, now)
	})
	return hidden, err
}

// ownRow reports whether a row is the caller's own and not cut.
func (s *Store) ownRow(f access.Filter) func(*Row) bool {
	if f.Walled() {
		return func(*Row) bool { return false }
	}
	return func(r *Row) bool {
		seg := s.Segment(r.Segment)
		return seg.Custodian == f.Organization && !seg.Directory && slices.Contains(f.Own, r.Segment)
	}
}

// follow finds which references lead to something visible; those that do not are put into hidden.
func (s *Store) follow(ctx context.Context, tx Tx, c compiled, ask map[fhir.Reference]asker, hidden map[fhir.Reference]bool, now int64) error {
	byType := map[string]Strings{}
	for ref := range ask {
		hidden[ref] = true
		byType[ref.Type] = append(byType[ref.Type], ref.ID)
	}
	for typ, ids := range byType {
		slices.Sort(ids)
		typeNo, err := s.lookup(ctx, tx, dictType, typ)
		if err != nil {
			return err
		}
		var b statement
		b.add("SELECT r.id,r.pat,r.npat,r.seg FROM res r WHERE r.part=0 AND r.type_no=? AND ", typeNo)
		b.inTexts(s.dialect, "r.id", ids)
		b.add(" AND r.del=0 AND ")
		if err := s.followableRow(&b, c, "r"); err != nil {
			return err
		}
		s.counts.add("visible")
		found := map[fhir.Reference]int64{}
		err = each(ctx, tx, b.String(), b.args, func(r Rows) error {
			ref := fhir.Reference{Type: typ}
			var pat, npat, seg int64
			err := r.Scan(&ref.ID, &pat, &npat, &seg)
			delete(hidden, ref)
			if by := ask[ref]; by.pat == pat && npat == 1 && c.remembers() { // of several, each has an epoch
				found[ref] = seg
			}
			return err
		})
		if err != nil {
			return err
		}
		for ref, seg := range found {
			by := ask[ref]
			v, err := s.viewAt(ctx, tx, c, by.pat, now, by.epoch)
			if err != nil {
				return err
			}
			if v.epoch == by.epoch {
				s.followed.put(followKey{c.org, c.purpose, by.pat, ref}, followed{by.epoch, v.from, v.to, seg, c.standing(seg)})
			}
		}
	}
	return nil
}

// asReleased gives the rows' bodies as far as release would let them out: without references the caller may not
// follow, and without narrative where there are any. Words a search looks for must not be found where release
// cuts them.
func (s *Store) asReleased(ctx context.Context, tx Tx, f access.Filter, c compiled, rows []Row, now int64) ([][]byte, error) {
	own := s.ownRow(f)
	hidden := map[fhir.Reference]bool{}
	programs, err := s.programsIn(ctx, tx, f, rows)
	if err != nil {
		return nil, err
	}
	if err := s.follow(ctx, tx, c, s.unknown(c, rows, own, now), hidden, now); err != nil {
		return nil, err
	}
	out := make([][]byte, len(rows))
	for i := range rows {
		out[i] = rows[i].Doc
		cut := func(ref fhir.Reference) bool { return hidden[ref] || s.leadsToProgram(&rows[i], ref, programs) }
		if own(&rows[i]) || !slices.ContainsFunc(rows[i].sealed.Refs, cut) {
			continue
		}
		res, err := fhir.ReadTrusted(rows[i].Doc)
		if err != nil {
			return nil, err
		}
		out[i] = fhir.DropReferences(res, func(reference string) bool {
			ref, ok := fhir.ParseReference(reference, s.base)
			return ok && cut(ref)
		})
	}
	return out, nil
}

// Askable reports whether a reference leads to something that may be hidden. Directory entries are public; a
// record's own patient is told by the record itself.
func Askable(ref fhir.Reference) bool {
	return ref.Type != "Patient" && !label.Directory(ref.Type)
}

// followKey names a reference that was found to lead somewhere visible. What is hidden is asked anew each time.
type followKey struct {
	org, purpose, pat int64
	ref               fhir.Reference
}

// followed is why a reference leads to something visible. That holds for as long as nothing that decides it has changed: the
// patient's epoch, which rises with every change and deletion of the patient's records and consents; the time for which the
// grants in force stand; and how the segment of what it leads to stands with the caller, which agreements decide that end
// by themselves.
type followed struct {
	epoch, from, to int64
	seg             int64
	standing        standing
}

func (v followed) holds(c compiled, epoch, now int64) bool {
	return v.epoch == epoch && v.from <= now && now < v.to && v.standing == c.standing(v.seg)
}

// standing is how a segment stands with a caller whatever patients grant.
type standing byte

const (
	byGrant standing = iota
	isOpen
	isOwn
)

func (c compiled) standing(seg int64) standing {
	switch {
	case slices.Contains(c.own, seg):
		return isOwn
	case slices.Contains(c.open, seg):
		return isOpen
	}
	return byGrant
}

// remembers reports whether what references lead to may be kept: a key says no more of who asks than the organisation
// and its purpose, and a person or a walled token sees other things.
func (c compiled) remembers() bool {
	return c.person == 0 && (c.limits == nil || !c.limits.Walled)
}

// asker is the patient of the row a reference stands in, at an epoch; pat -1 when rows of several patients ask.
type asker struct{ pat, epoch int64 }

// maxFollowed bounds the references kept.
const maxFollowed = 200_000

// unknown lists the references in rows that have to be asked about.
func (s *Store) unknown(by compiled, rows []Row, own func(*Row) bool, now int64) map[fhir.Reference]asker {
	var out map[fhir.Reference]asker
	for i := range rows {
		r := &rows[i]
		if len(r.sealed.Refs) == 0 || own(r) {
			continue
		}
		for _, ref := range r.sealed.Refs {
			if !Askable(ref) {
				continue
			}
			if v, ok := s.followed.get(followKey{by.org, by.purpose, r.pat, ref}); ok && by.remembers() && v.holds(by, r.epoch, now) {
				continue
			}
			if out == nil {
				out = map[fhir.Reference]asker{}
			}
			if have, ok := out[ref]; ok && have.pat != r.pat {
				out[ref] = asker{pat: -1}
			} else {
				out[ref] = asker{r.pat, r.epoch}
			}
		}
	}
	return out
}
