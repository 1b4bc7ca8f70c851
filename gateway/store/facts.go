package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/fhir"
	"trellis/fhir/search"
)

// factTypes are the types whose resources state facts decisions rest on.
var factTypes = [...]string{"Consent", "CareTeam", "EpisodeOfCare", "Coverage"}

func factType(typ string) bool { return slices.Contains(factTypes[:], typ) }

// loadFacts reads what was recorded about a patient at known: the latest version of each fact
// resource not later than it. custodian names the organisation of a segment.
func (s *Store) loadFacts(ctx context.Context, tx Tx, pat, known int64, custodian func(seg int64) string) (access.Facts, error) {
	var facts access.Facts
	patient, err := s.patientID(ctx, tx, pat)
	if err != nil {
		return facts, err
	}
	types := make(Int64s, len(factTypes))
	for i, typ := range factTypes {
		if types[i], err = s.lookup(ctx, tx, dictType, typ); err != nil {
			return facts, err
		}
	}
	var b statement
	b.add("SELECT r.type_no,r.id,r.seg,b.ver,b.at,b.op,b.enc,b.doc FROM ")
	b.patientRows(s.dialect, pat, types)
	b.add(" k JOIN res r ON r.part=0 AND r.rid=k.rid JOIN body b ON b.part=0 AND b.rid=r.rid WHERE ")
	b.inNumbers(s.dialect, "r.type_no", types)
	b.add(" AND b.ver=(SELECT MAX(v.ver) FROM body v WHERE v.part=0 AND v.rid=r.rid AND v.at<=?) ORDER BY r.rid", known)
	err = each(ctx, tx, b.String(), b.args, func(r Rows) error {
		var typeNo, seg, ver, at, op, enc int64
		var id string
		var doc []byte
		if err := r.Scan(&typeNo, &id, &seg, &ver, &at, &op, &enc, &doc); err != nil {
			return err
		}
		if op == int64(Delete) {
			return nil
		}
		sealed, err := s.decompress(enc, doc)
		if err != nil {
			return err
		}
		return addFact(&facts, fact{factTypes[slices.Index(types, typeNo)], id, custodian(seg), int(ver), time.UnixMicro(at).UTC(), bytes.Clone(sealed.Doc)}, patient, s.base)
	})
	return facts, err
}

// patientRows adds the keys of the rows of some types about a patient, and with them those of any type that are about
// others as well. With OR in its place PostgreSQL reads a whole type.
func (b *statement) patientRows(d Dialect, pat int64, types Int64s) {
	b.add("(SELECT p.rid FROM res p WHERE p.part=0 AND p.pat=? AND ", pat)
	b.inNumbers(d, "p.type_no", types)
	b.add(" UNION SELECT a.rid FROM res_also a WHERE a.part=0 AND a.pat=?)", pat)
}

// fact is one stored version of a resource that states facts.
type fact struct {
	typ, id, recorder string
	version           int
	at                time.Time
	doc               []byte
}

// addFact reads what a resource states about the patient: a Coverage is about its beneficiary, not about
// whoever holds the policy.
func addFact(facts *access.Facts, f fact, patient, base string) error {
	if f.typ == "Consent" {
		c := consent.Read(f.id, f.version, f.at, f.doc, base)
		c.Recorder, c.Everywhere = f.recorder, f.recorder == access.OperatorID
		facts.Consents = append(facts.Consents, c)
		return nil
	}
	root, err := fhir.ParseJSON(f.doc)
	if err != nil {
		return fmt.Errorf("store: a stored %s cannot be read", f.typ)
	}
	about := map[string]string{"CareTeam": "subject", "EpisodeOfCare": "patient", "Coverage": "beneficiary"}[f.typ]
	if ref, ok := fhir.ParseReference(root.Path(about, "reference").Text(), base); !ok || ref.ID != patient {
		return nil
	}
	for _, r := range relationships(f.typ, f.id, root, base) {
		r.Recorder, r.Everywhere = f.recorder, f.recorder == access.OperatorID
		facts.Relationships = append(facts.Relationships, r)
	}
	return nil
}

// relationships reads who treats or covers the patient: organisations on an active care team, the one
// managing an episode of care, and payors of a coverage.
func relationships(typ, id string, root fhir.Node, base string) []access.Relationship {
	var out []access.Relationship
	add := func(kind access.RelationshipKind, reference, period fhir.Node) {
		ref, ok := fhir.ParseReference(reference.Get("reference").Text(), base)
		if !ok || ref.Type != "Organization" {
			return
		}
		r := access.Relationship{Organization: ref.ID, Kind: kind, Source: typ + "/" + id}
		if span, err := search.ParseDate(period.Get("start").Text()); err == nil {
			r.From = time.UnixMicro(span.Lo).UTC()
		}
		if end := period.Get("end"); !end.IsZero() {
			span, err := search.ParseDate(end.Text())
			if err != nil {
				return // an end nobody can read ends it
			}
			r.To = time.UnixMicro(span.Hi).UTC()
		}
		out = append(out, r)
	}
	status := root.Get("status").Text()
	switch {
	case typ == "EpisodeOfCare" && (status == "active" || status == "onhold" || status == "finished"):
		add(access.Treating, root.Get("managingOrganization"), root.Get("period"))
	case typ == "CareTeam" && status == "active":
		for _, p := range root.Get("participant").List() {
			add(access.Treating, p.Get("member"), p.Get("period"))
		}
	case typ == "Coverage" && status == "active":
		for _, payor := range root.Get("payor").List() {
			add(access.Coverage, payor, root.Get("period"))
		}
	}
	return out
}

// materialize recomputes one patient's grants and closes or opens rows where they differ from what stands.
func (w *writer) materialize(pat int64) error {
	if err := w.bumpEpoch(pat); err != nil { // takes the patient's row lock first
		return err
	}
	// All there is under the lock just taken, whatever our clock said before.
	facts, err := w.s.loadFacts(w.ctx, w.tx, pat, forever, w.custodian)
	if err != nil {
		return err
	}
	if err := w.remark(pat, facts); err != nil {
		return err
	}
	if len(facts.Consents)+len(facts.Relationships) == 0 { // nobody was granted anything
		return w.replaceGrants(pat, nil)
	}
	actors, err := w.s.actors(w.ctx, w.tx)
	if err != nil {
		return err
	}
	segments, err := w.patientSegments(pat)
	if err != nil {
		return err
	}
	terms, err := w.s.loadTerms(w.ctx, w.tx, forever)
	if err != nil {
		return err
	}
	patient, err := w.s.patientID(w.ctx, w.tx, pat)
	if err != nil {
		return err
	}
	want := map[grantRow]bool{}
	for _, g := range access.Materialize(patient, facts, actors, segments, terms) {
		row, err := w.grantRow(g)
		if err != nil {
			return err
		}
		want[row] = true
	}
	return w.replaceGrants(pat, want)
}

// partEffect is the effect of a grant that reaches a part of the record only.
const partEffect = 2

// grantRow is a grant in the store's numbers.
type grantRow struct{ org, purpose, seg, typeNo, effect, from, to, dlo, dhi int64 }

func (w *writer) grantRow(g access.Grant) (grantRow, error) {
	effect := int64(g.Effect)
	if g.Part {
		effect = partEffect
	}
	row := grantRow{seg: g.Segment, effect: effect, from: g.From, to: g.To, dlo: g.Period.Lo, dhi: g.Period.Hi}
	var err error
	if row.org, err = w.intern(dictOrg, g.Organization); err != nil {
		return row, err
	}
	if row.purpose, err = w.intern(dictPurpose, g.Purpose); err != nil {
		return row, err
	}
	if g.ResourceType != "" {
		row.typeNo, err = w.intern(dictType, g.ResourceType)
	}
	return row, err
}

func (w *writer) replaceGrants(pat int64, want map[grantRow]bool) error {
	stale := map[grantRow]int64{} // and when it was opened
	err := each(w.ctx, w.tx, "SELECT org,purpose,seg,type_no,effect,vfrom,vto,dlo,dhi,rfrom FROM grants WHERE part=0 AND pat=? AND rto=?", []any{pat, int64(forever)}, func(r Rows) error {
		var g grantRow
		var opened int64
		if err := r.Scan(&g.org, &g.purpose, &g.seg, &g.typeNo, &g.effect, &g.from, &g.to, &g.dlo, &g.dhi, &opened); err != nil {
			return err
		}
		if want[g] {
			delete(want, g)
		} else {
			stale[g] = opened
		}
		return nil
	})
	if err != nil {
		return err
	}
	for g, opened := range stale {
		const row = " WHERE part=0 AND pat=? AND org=? AND purpose=? AND seg=? AND type_no=? AND effect=? AND rto=? AND vfrom=? AND dlo=? AND dhi=?"
		sql, args := "UPDATE grants SET rto=?"+row, []any{w.now, pat, g.org, g.purpose, g.seg, g.typeNo, g.effect, int64(forever), g.from, g.dlo, g.dhi}
		if opened == w.now { // never in force for anyone; the same may be opened and closed again at this instant
			sql, args = "DELETE FROM grants"+row, args[1:]
		}
		err := w.tx.Queue(w.ctx, sql, args...)
		if err != nil {
			return err
		}
	}
	rows := make([][]any, 0, len(want))
	for g := range want {
		rows = append(rows, []any{pat, g.org, g.purpose, g.seg, g.typeNo, g.effect, g.from, g.to, g.dlo, g.dhi, w.now, int64(forever)})
	}
	return w.insertRows("grants", "pat,org,purpose,seg,type_no,effect,vfrom,vto,dlo,dhi,rfrom,rto", rows)
}

func (w *writer) bumpEpoch(pat int64) error {
	return w.tx.Queue(w.ctx, "INSERT INTO patient_state (part,pat,epoch,also) VALUES (0,?,1,0) ON CONFLICT (part,pat) DO UPDATE SET epoch=patient_state.epoch+1", pat)
}

// noteShared marks a patient under whom a record of several stands.
func (w *writer) noteShared(pat int64) error {
	return w.tx.Queue(w.ctx, "INSERT INTO patient_state (part,pat,epoch,also) VALUES (0,?,1,1) ON CONFLICT (part,pat) DO UPDATE SET epoch=patient_state.epoch+1,also=1", pat)
}

func (w *writer) patientSegments(pat int64) ([]access.NumberedSegment, error) {
	return readPatientSegments(w.ctx, w.tx, pat)
}

func readPatientSegments(ctx context.Context, tx Tx, pat int64) ([]access.NumberedSegment, error) {
	var out []access.NumberedSegment
	err := each(ctx, tx, "SELECT s.seg,s.body FROM patient_segment p JOIN segment s ON s.seg=p.seg WHERE p.part=0 AND p.pat=?", []any{pat}, func(r Rows) error {
		var n access.NumberedSegment
		var body string
		if err := r.Scan(&n.No, &body); err != nil {
			return err
		}
		out = append(out, n)
		return json.Unmarshal([]byte(body), &out[len(out)-1].Segment)
	})
	return out, err
}

// MaterializeAll recomputes every patient's grants: after the registry or the rules changed.
func (s *Store) MaterializeAll(ctx context.Context) error {
	return s.materializeThose(ctx, "SELECT DISTINCT pat FROM patient_segment WHERE part=0")
}

// materializeThose recomputes the grants of the patients a query lists, each in a transaction of its own.
func (s *Store) materializeThose(ctx context.Context, sql string, args ...any) error {
	var pats []int64
	err := s.engine.Read(ctx, func(tx Tx) error {
		pats = nil
		return each(ctx, tx, sql, args, func(r Rows) error {
			var pat int64
			err := r.Scan(&pat)
			pats = append(pats, pat)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, pat := range pats {
		if err := s.write(ctx, func(w *writer) error { return w.materialize(pat) }); err != nil {
			return err
		}
	}
	return nil
}

// cachedFacts are a patient's facts with the epoch they were read at.
type cachedFacts struct {
	epoch int64
	facts PatientFacts
}

// maxCachedFacts bounds the patients whose facts are kept.
const maxCachedFacts = 20_000

// currentFacts are a patient's facts as of the epoch just read with the data.
func (s *Store) currentFacts(ctx context.Context, tx Tx, pat, epoch int64) (PatientFacts, error) {
	if f, ok := s.facts.get(pat); ok && f.epoch == epoch {
		return f.facts, nil
	}
	facts, err := s.loadFacts(ctx, tx, pat, forever, s.custodian)
	if err != nil {
		return PatientFacts{}, err
	}
	id, err := s.patientID(ctx, tx, pat)
	if err != nil {
		return PatientFacts{}, err
	}
	f := PatientFacts{ID: id, Facts: facts}
	s.facts.put(pat, cachedFacts{epoch, f})
	return f, nil
}
