package store

import (
	"maps"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
)

// marked gives a record's segment the marks by which consents of its patients single it out: those its custodian recorded, and
// the operator's. What another organisation recorded speaks of that one's records and leaves no trace on this.
func (w *writer) marked(seg label.Segment, r *fhir.Resource, typ, id string, pats []int64) (label.Segment, error) {
	var wanted []string
	for _, pat := range pats {
		marks, err := w.wantedMarks(pat)
		if err != nil {
			return seg, err
		}
		for _, line := range marks {
			if recorder, mark, _ := strings.Cut(line, "\t"); recorder == everybody || recorder == seg.Custodian {
				wanted = append(wanted, mark)
			}
		}
	}
	slices.Sort(wanted)
	return seg.Marked(consent.Marks(typ, id, r.Root, slices.Compact(wanted), w.s.base)), nil
}

// everybody is the recorder of what the operator recorded.
const everybody = "*"

// markLines are the marks of a patient's consents with who recorded each, as they are kept.
func markLines(consents []consent.Consent) []string {
	var out []string
	for i := range consents {
		recorder := consents[i].Recorder
		if consents[i].Everywhere {
			recorder = everybody
		}
		for _, mark := range consent.Mentioned(consents[i : i+1]) {
			out = append(out, recorder+"\t"+strings.NewReplacer("\n", " ", "\t", " ").Replace(mark)) // of no code or id that is valid
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wantedMarks are those of a patient's consents. The row stays locked: a consent recorded meanwhile waits, and then finds
// the record.
func (w *writer) wantedMarks(pat int64) ([]string, error) {
	if marks, ok := w.marks[pat]; ok {
		return marks, nil
	}
	sql := "SELECT marks FROM patient_state WHERE part=0 AND pat=?"
	if w.s.dialect.Name == "postgres" {
		sql += " FOR SHARE"
	}
	var text string
	found, err := one(w.ctx, w.tx, sql, []any{pat}, &text)
	if err == nil && !found { // a row that is not there cannot be locked
		if _, err = w.tx.Exec(w.ctx, "INSERT INTO patient_state (part,pat,epoch,also) VALUES (0,?,1,0) ON CONFLICT (part,pat) DO NOTHING", pat); err == nil {
			_, err = one(w.ctx, w.tx, sql, []any{pat}, &text)
		}
	}
	if err != nil {
		return nil, err
	}
	w.marks[pat] = splitMarks(text)
	return w.marks[pat], nil
}

func splitMarks(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// remark brings a patient's records to what the consents single out now: heads, and the versions before them, which are
// shown by what they say themselves. It is called with the patient's row locked.
func (w *writer) remark(pat int64, facts access.Facts) error {
	delete(w.marks, pat)
	had, err := w.wantedMarks(pat)
	if err != nil {
		return err
	}
	want := markLines(facts.Consents)
	if slices.Equal(had, want) {
		return nil
	}
	if _, err := w.tx.Exec(w.ctx, "UPDATE patient_state SET marks=? WHERE part=0 AND pat=?", strings.Join(want, "\n"), pat); err != nil {
		return err
	}
	w.marks[pat] = want
	versions, err := w.versionsOf(pat)
	if err != nil {
		return err
	}
	m := moves{bodies: map[int64]Int64s{}, heads: map[int64]Int64s{}, held: map[[2]int64]bool{}}
	for i := range versions {
		last := i+1 == len(versions) || versions[i+1].rid != versions[i].rid
		if err := w.remarkVersion(&m, &versions[i], last); err != nil {
			return err
		}
	}
	return w.move(m)
}

// moves is what goes into another segment: bodies and head rows by the segment they go to, and who has records there now.
type moves struct {
	bodies, heads map[int64]Int64s
	held          map[[2]int64]bool // patient, segment
}

func (m *moves) hold(pats []int64, seg int64) {
	for _, pat := range pats {
		m.held[[2]int64{pat, seg}] = true
	}
}

// storedVersion is a version of a record with what is needed to mark it.
type storedVersion struct {
	rid, seq, seg, headSeg, enc, pat, npat int64
	typ, id                                string
	doc                                    []byte
}

// versionsOf lists every version with a body of what is filed under a patient, each record's in their order.
func (w *writer) versionsOf(pat int64) ([]storedVersion, error) {
	var out []storedVersion
	err := each(w.ctx, w.tx, "SELECT r.rid,b.seq,b.seg,r.seg,r.pat,r.npat,d.name,r.id,b.enc,b.doc FROM (SELECT rid FROM res WHERE part=0 AND pat=? UNION SELECT rid FROM res_also WHERE part=0 AND pat=?) k "+
		"JOIN res r ON r.part=0 AND r.rid=k.rid JOIN dict d ON d.kind=1 AND d.no=r.type_no JOIN body b ON b.part=0 AND b.rid=r.rid WHERE r.ver>0 AND b.op<>? ORDER BY r.rid,b.ver", []any{pat, pat, int64(Delete)}, func(r Rows) error {
		var v storedVersion
		if err := r.Scan(&v.rid, &v.seq, &v.seg, &v.headSeg, &v.pat, &v.npat, &v.typ, &v.id, &v.enc, &v.doc); err != nil {
			return err
		}
		v.doc = slices.Clone(v.doc)
		out = append(out, v)
		return nil
	})
	return out, err
}

// remarkVersion marks a version by its content, and by the last one the head, deleted or not.
func (w *writer) remarkVersion(m *moves, v *storedVersion, last bool) error {
	before, err := w.segment(v.seg)
	if err != nil {
		return err
	}
	head, err := w.segment(v.headSeg) // another than the body's after a relabelling
	if err != nil {
		return err
	}
	pats := []int64{v.pat}
	if v.npat > 1 {
		if pats, err = w.filedUnder(fhir.Reference{Type: v.typ, ID: v.id}); err != nil {
			return err
		}
	}
	after := before.Marked(nil)
	sealed, err := w.s.decompress(v.enc, v.doc)
	if err != nil {
		return err
	}
	mayBe, err := w.mayBeMarked(v, sealed.Doc, pats)
	if err != nil {
		return err
	}
	if mayBe {
		res, err := fhir.ReadTrusted(sealed.Doc)
		if err != nil {
			return err
		}
		if after, err = w.marked(before, res, v.typ, v.id, pats); err != nil {
			return err
		}
	}
	if !slices.Equal(before.Marks, after.Marks) {
		no, err := w.internSegment(after)
		if err != nil {
			return err
		}
		m.bodies[no] = append(m.bodies[no], v.seq)
		m.hold(pats, no)
	}
	if !last || slices.Equal(head.Marks, after.Marks) {
		return nil
	}
	no, err := w.internSegment(head.Marked(after.Marks))
	if err != nil {
		return err
	}
	m.heads[no] = append(m.heads[no], v.rid)
	m.hold(pats, no)
	return nil
}

// mayBeMarked reports whether a document could have any mark its patients' consents speak of; most have none, and reading
// them whole would be most of the work.
func (w *writer) mayBeMarked(v *storedVersion, doc []byte, pats []int64) (bool, error) {
	for _, pat := range pats {
		lines, err := w.wantedMarks(pat)
		if err != nil {
			return false, err
		}
		for _, line := range lines {
			if _, mark, _ := strings.Cut(line, "\t"); consent.MayHave(mark, v.id, doc) {
				return true, nil
			}
		}
	}
	return false, nil
}

// move writes what goes into another segment: no new versions, but nothing that was known of who may see them holds.
func (w *writer) move(m moves) error {
	in := func(sql, column, then string, args ...any) error {
		list := args[len(args)-1].(Int64s)
		for chunk := range slices.Chunk(list, maxMoved) {
			args[len(args)-1] = chunk
			if _, err := w.tx.Exec(w.ctx, sql+w.s.dialect.In(column)+then, args...); err != nil {
				return err
			}
		}
		return nil
	}
	for _, seg := range slices.Sorted(maps.Keys(m.bodies)) {
		if err := in("UPDATE body SET seg=? WHERE part=0 AND ", "seq", "", seg, m.bodies[seg]); err != nil {
			return err
		}
	}
	for _, seg := range slices.Sorted(maps.Keys(m.heads)) {
		if err := in("UPDATE res SET seg=? WHERE part=0 AND ", "rid", "", seg, m.heads[seg]); err != nil {
			return err
		}
		if err := in("INSERT INTO seg_change (part,rid,at,seg) SELECT 0,rid,?,seg FROM res WHERE part=0 AND ", "rid", noted, w.now, m.heads[seg]); err != nil {
			return err
		}
	}
	for key := range m.held {
		if err := w.tx.Queue(w.ctx, "INSERT INTO patient_segment (part,pat,seg) VALUES (0,?,?) ON CONFLICT (part,pat,seg) DO NOTHING", key[0], key[1]); err != nil {
			return err
		}
		w.resegmented[key[0]] = true
	}
	return nil
}

// maxMoved is how many rows one statement puts into another segment.
const maxMoved = 1000

// noteSegment keeps when a head row got another segment: decisions of before are explained and replayed by the one it had.
func (w *writer) noteSegment(rid, seg int64) error {
	return w.tx.Queue(w.ctx, "INSERT INTO seg_change (part,rid,at,seg) VALUES (0,?,?,?)"+noted, rid, w.now, seg)
}

// noted lets the last of several segments of one moment stand.
const noted = " ON CONFLICT (part,rid,at) DO UPDATE SET seg=excluded.seg"
