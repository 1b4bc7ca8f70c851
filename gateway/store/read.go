package store

import (
	"context"
	"math"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/fhir"
)

// Row is a resource version as a query found it. Doc is empty when it is hidden or deleted.
type Row struct {
	Type, ID string
	Version  int64
	Updated  time.Time
	Deleted  bool
	Method   Method // for history: what made the version
	Segment  int64
	Included bool // by _include or _revinclude, not a match
	// Relabelled reports, after Lookup, that the labels changed since the version was written: same version, other bytes.
	Relabelled bool
	Doc        []byte

	sealed                fhir.Sealed
	rid, pat, npat, epoch int64
	seq                   int64 // of the version, where its body is read apart
	period                consent.Period
	sortKeys              []any
}

// Sealed is the stored body with its span table.
func (r *Row) Sealed() fhir.Sealed { return r.sealed }

func (r *Row) seal(s fhir.Sealed) { r.sealed, r.Doc = s, s.Doc }

// Target is what Lookup found: the row when the filter lets it through, and in any case the facts a
// decision about the id rests on. For an unknown id Exists is false and the facts are empty; the same
// statements run for both.
type Target struct {
	Exists  bool
	Visible bool
	Row     Row
	Subject Subject
}

// Subject is whom a resource is about, with the facts recorded about each.
type Subject struct {
	Patients []PatientFacts
	Segment  int64
	Type     string
	Period   consent.Period
	Terms    access.Terms // the deployment's
}

// Ground is what a decision about a row rests on, apart from who asks and when: equal grounds are decided alike.
type Ground struct {
	patient, epoch, segment int64
	typ                     string
	period                  consent.Period
}

// Ground is the row's, where it is about at most one patient.
func (s Subject) Ground(row *Row) (Ground, bool) {
	if row.npat > 1 || len(s.Patients) > 1 || row.epoch == unknownEpoch {
		return Ground{}, false
	}
	g := Ground{patient: row.pat, epoch: row.epoch, segment: row.Segment, typ: s.Type}
	for _, p := range s.Patients {
		if p.Facts.DistinguishesPeriods() {
			g.period = s.Period
		}
	}
	return g, true
}

// PatientFacts is one patient with the facts recorded.
type PatientFacts struct {
	ID    string
	Facts access.Facts
}

// Lookup finds one resource by id, at its current version or, when version is not 0, at that version.
// Visibility is that of the current head: today's labels govern every version.
func (s *Store) Lookup(ctx context.Context, f access.Filter, typ, id string, version int64) (Target, error) {
	var t Target
	now, err := s.now(ctx)
	if err != nil {
		return t, err
	}
	err = s.engine.Read(ctx, func(tx Tx) error {
		c, err := s.compile(ctx, tx, f)
		if err != nil {
			return err
		}
		typeNo, err := s.lookup(ctx, tx, dictType, typ)
		if err != nil {
			return err
		}
		if version == 0 {
			if known, err := s.lookupKnown(ctx, tx, c, fhir.Reference{Type: typ, ID: id}, typeNo, now, &t); err != nil || known {
				return err
			}
		}
		var b statement
		if version == 0 {
			err = s.current(&b, c, typ, typeNo, id)
		} else {
			err = s.atVersion(&b, c, typ, typeNo, id, version)
		}
		if err != nil {
			return err
		}
		var vis, at, op, enc, ver, own int64
		var doc []byte
		row := &t.Row
		s.counts.add("lookup")
		t.Exists, err = one(ctx, tx, b.String(), b.args, &row.rid, &row.pat, &row.npat, &row.Segment, &own, &row.period.Lo, &row.period.Hi, &vis, &row.epoch, &ver, &at, &op, &enc, &doc)
		if err != nil {
			return err
		}
		row.Relabelled = !s.sameLabels(row.Segment, own)
		row.Segment = s.governing(row.Segment, own)
		row.Type, row.ID, row.Version, row.Updated, row.Method = typ, id, ver, time.UnixMicro(at).UTC(), Method(op)
		row.Deleted = row.Method == Delete
		t.Visible = vis == 1 && ver != 0
		if row.sealed, err = s.decompress(enc, doc); err != nil {
			return err
		}
		row.Doc = row.sealed.Doc
		if row.npat == 1 && version == 0 && t.Visible {
			s.locate(fhir.Reference{Type: typ, ID: id}, row.pat)
		}
		t.Subject, err = s.subject(ctx, tx, row)
		return err
	})
	return t, err
}

// current selects a resource at its current version: the head tells all about it, and its body is there only when
// the caller may see it.
func (s *Store) current(b *statement, c compiled, typ string, typeNo int64, id string) error {
	b.add("SELECT r.rid,r.pat,r.npat,r.seg,COALESCE(v.seg,r.seg),r.lo,r.hi,CASE WHEN v.seq IS NULL THEN 0 ELSE 1 END,COALESCE(ps.epoch,0),COALESCE(v.ver,0),COALESCE(v.at,0),COALESCE(v.op,0),COALESCE(v.enc,0),v.doc " +
		"FROM res r LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat LEFT JOIN body v ON v.part=0 AND v.seq=r.seq AND ")
	err := s.visible(b, c, typ)
	b.add(" WHERE r.part=0 AND r.type_no=? AND r.id=? AND r.ver>0", typeNo, id)
	return err
}

// atVersion selects a resource at a version, whom that was about and what decided about it then.
func (s *Store) atVersion(b *statement, c compiled, typ string, typeNo int64, id string, version int64) error {
	b.add("SELECT q.rid,COALESCE(v.pat,q.pat),COALESCE(v.npat,q.npat),q.seg,COALESCE(v.seg,q.seg),COALESCE(v.lo,q.lo),COALESCE(v.hi,q.hi),q.vis,COALESCE(ps.epoch,q.epoch),COALESCE(v.ver,0),COALESCE(v.at,0),COALESCE(v.op,0),COALESCE(v.enc,0),v.doc FROM " +
		"(SELECT r.rid,r.pat,r.npat,r.seg,r.lo,r.hi,r.ver,COALESCE(ps.epoch,0) AS epoch,CASE WHEN ")
	if err := s.visible(b, c, typ); err != nil {
		return err
	}
	b.add(" THEN 1 ELSE 0 END AS vis FROM res r LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat WHERE r.part=0 AND r.type_no=? AND r.id=? AND r.ver>0) q "+
		"LEFT JOIN body v ON v.part=0 AND q.vis=1 AND v.rid=q.rid AND v.ver=? AND ", typeNo, id, version)
	err := s.visibleVersion(b, c, "q", typ)
	b.add(" LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=v.pat")
	return err
}

// sameLabels reports whether two segments are told apart by nothing but marks, which nobody is told.
func (s *Store) sameLabels(a, b int64) bool {
	return a == b || s.Segment(a).Marked(nil).Key() == s.Segment(b).Marked(nil).Key()
}

// governing is the segment a version is decided and labelled by: today's head, unless the version itself was
// a Part 2 record and the head no longer says so.
func (s *Store) governing(head, version int64) int64 {
	if s.Segment(version).Part2 && !s.Segment(head).Part2 {
		return version
	}
	return head
}

// Subject reads the facts about the patients of a row a query found.
func (s *Store) Subject(ctx context.Context, row *Row) (Subject, error) {
	out := Subject{Segment: row.Segment, Type: row.Type, Period: row.period, Terms: s.knownTerms()}
	if row.pat == 0 {
		return out, nil
	}
	if f, ok := s.facts.get(row.pat); ok && f.epoch == row.epoch && row.npat == 1 {
		out.Patients = []PatientFacts{f.facts}
		return out, nil
	}
	err := s.engine.Read(ctx, func(tx Tx) (err error) {
		out, err = s.subject(ctx, tx, row)
		return err
	})
	return out, err
}

func (s *Store) subject(ctx context.Context, tx Tx, row *Row) (Subject, error) {
	sub := Subject{Segment: row.Segment, Type: row.Type, Period: row.period, Terms: s.knownTerms()}
	var pats [][2]int64 // key, epoch
	if row.pat != 0 {
		pats = append(pats, [2]int64{row.pat, row.epoch})
	}
	if row.npat > 1 {
		err := each(ctx, tx, "SELECT a.pat,COALESCE(p.epoch,0) FROM res_also a LEFT JOIN patient_state p ON p.part=0 AND p.pat=a.pat WHERE a.part=0 AND a.rid=?", []any{row.rid}, func(r Rows) error {
			var p [2]int64
			err := r.Scan(&p[0], &p[1])
			pats = append(pats, p)
			return err
		})
		if err != nil {
			return sub, err
		}
	}
	for _, p := range pats {
		facts, err := s.currentFacts(ctx, tx, p[0], p[1])
		if err != nil {
			return sub, err
		}
		sub.Patients = append(sub.Patients, facts)
	}
	return sub, nil
}

// SubjectAt is whom a resource was about, its segment and the facts and terms, as they were recorded at known: what a decision
// of that time rested on. version 0 is the version of that time. exists is false when there was no such resource yet.
func (s *Store) SubjectAt(ctx context.Context, ref fhir.Reference, version int64, known time.Time) (sub Subject, exists bool, err error) {
	sub = Subject{Type: ref.Type}
	at := known.UnixMicro()
	if version == 0 {
		version = math.MaxInt32
	}
	err = s.engine.Read(ctx, func(tx Tx) error {
		if sub.Terms, err = s.loadTerms(ctx, tx, at); err != nil {
			return err
		}
		rid, err := s.lookupKey(ctx, tx, ref)
		if err != nil {
			return err
		}
		var pat, npat, written int64
		exists, err = one(ctx, tx, "SELECT at,seg,pat,npat,lo,hi FROM body WHERE part=0 AND rid=? AND at<=? AND ver<=? ORDER BY ver DESC LIMIT 1", []any{rid, at, version}, &written, &sub.Segment, &pat, &npat, &sub.Period.Lo, &sub.Period.Hi)
		if err != nil || !exists {
			return err
		}
		if _, err := one(ctx, tx, "SELECT seg FROM seg_change WHERE part=0 AND rid=? AND at>=? AND at<=? ORDER BY at DESC LIMIT 1", []any{rid, written, at}, &sub.Segment); err != nil {
			return err
		}
		pats := []int64{pat}
		if npat > 1 { // whom else an old version was about is not kept: those of today
			err := each(ctx, tx, "SELECT pat FROM res_also WHERE part=0 AND rid=?", []any{rid}, func(r Rows) error {
				var also int64
				err := r.Scan(&also)
				pats = append(pats, also)
				return err
			})
			if err != nil {
				return err
			}
		}
		for _, pat := range pats {
			if pat == 0 {
				continue
			}
			f := PatientFacts{}
			if f.ID, err = s.patientID(ctx, tx, pat); err != nil {
				return err
			}
			if f.Facts, err = s.loadFacts(ctx, tx, pat, at, s.custodian); err != nil {
				return err
			}
			sub.Patients = append(sub.Patients, f)
		}
		return nil
	})
	return sub, exists, err
}

// Own is an organisation's own resource at its current version, or nil when it holds none under the id.
func (s *Store) Own(ctx context.Context, organization, typ, id string) (*fhir.Resource, error) {
	var out *fhir.Resource
	if organization == "" { // nobody holds anything
		return nil, nil
	}
	err := s.engine.Read(ctx, func(tx Tx) error {
		var seg, enc int64
		var doc []byte
		found, err := one(ctx, tx, "SELECT r.seg,v.enc,v.doc FROM res r JOIN dict d ON d.kind=1 AND d.no=r.type_no AND d.name=? JOIN body v ON v.part=0 AND v.seq=r.seq WHERE r.part=0 AND r.id=? AND r.del=0",
			[]any{typ, id}, &seg, &enc, &doc)
		if err != nil || !found || s.Segment(seg).Custodian != organization {
			return err
		}
		sealed, err := s.decompress(enc, doc)
		if err != nil {
			return err
		}
		out, err = fhir.ReadTrusted(sealed.Doc)
		return err
	})
	return out, err
}
