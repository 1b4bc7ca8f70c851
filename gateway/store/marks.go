package store

import (
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
)

// marked gives a record's segment the marks by which consents of its patients single it out.
func (w *writer) marked(seg label.Segment, r *fhir.Resource, typ, id string, pats []int64) (label.Segment, error) {
	var wanted []string
	for _, pat := range pats {
		marks, err := w.wantedMarks(pat)
		if err != nil {
			return seg, err
		}
		wanted = append(wanted, marks...)
	}
	slices.Sort(wanted)
	return seg.Marked(consent.Marks(typ, id, r.Root, slices.Compact(wanted), w.s.base)), nil
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
	if _, err := one(w.ctx, w.tx, sql, []any{pat}, &text); err != nil {
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

// remark brings a patient's records to what the consents single out now. It is called with the patient's row locked.
func (w *writer) remark(pat int64, facts access.Facts) error {
	delete(w.marks, pat)
	had, err := w.wantedMarks(pat)
	if err != nil {
		return err
	}
	want := consent.Mentioned(facts.Consents)
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "\n", " ") // of no code or id that is valid
	}
	if slices.Equal(had, want) {
		return nil
	}
	if _, err := w.tx.Exec(w.ctx, "UPDATE patient_state SET marks=? WHERE part=0 AND pat=?", strings.Join(want, "\n"), pat); err != nil {
		return err
	}
	w.marks[pat] = want
	type stored struct {
		rid, seg, enc int64
		typ, id       string
		doc           []byte
	}
	var rows []stored
	err = each(w.ctx, w.tx, "SELECT r.rid,r.seg,d.name,r.id,b.enc,b.doc FROM (SELECT rid FROM res WHERE part=0 AND pat=? UNION SELECT rid FROM res_also WHERE part=0 AND pat=?) k "+
		"JOIN res r ON r.part=0 AND r.rid=k.rid JOIN dict d ON d.kind=1 AND d.no=r.type_no JOIN body b ON b.part=0 AND b.seq=r.seq WHERE r.del=0 AND r.ver>0", []any{pat, pat}, func(r Rows) error {
		var row stored
		if err := r.Scan(&row.rid, &row.seg, &row.typ, &row.id, &row.enc, &row.doc); err != nil {
			return err
		}
		row.doc = slices.Clone(row.doc)
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		before, err := w.segment(row.seg)
		if err != nil {
			return err
		}
		sealed, err := w.s.decompress(row.enc, row.doc)
		if err != nil {
			return err
		}
		res, err := fhir.ReadTrusted(sealed.Doc)
		if err != nil {
			return err
		}
		pats, err := w.filedUnder(fhir.Reference{Type: row.typ, ID: row.id})
		if err != nil {
			return err
		}
		after, err := w.marked(before, res, row.typ, row.id, pats)
		if err != nil {
			return err
		}
		if slices.Equal(before.Marks, after.Marks) {
			continue
		}
		if err := w.resegment(row.rid, pats, after); err != nil {
			return err
		}
	}
	return nil
}

// resegment puts a head row into another segment: no new version, but nothing that was known of who may see it holds.
func (w *writer) resegment(rid int64, pats []int64, seg label.Segment) error {
	no, err := w.internSegment(seg)
	if err != nil {
		return err
	}
	if _, err := w.tx.Exec(w.ctx, "UPDATE res SET seg=? WHERE part=0 AND rid=?", no, rid); err != nil {
		return err
	}
	if err := w.noteSegment(rid, no); err != nil {
		return err
	}
	for _, pat := range pats {
		if _, err := w.tx.Exec(w.ctx, "INSERT INTO patient_segment (part,pat,seg) VALUES (0,?,?) ON CONFLICT (part,pat,seg) DO NOTHING", pat, no); err != nil {
			return err
		}
		w.resegmented[pat] = true
	}
	return nil
}

// noteSegment keeps when a head row got another segment: decisions of before are explained and replayed by the one it had.
func (w *writer) noteSegment(rid, seg int64) error {
	return w.tx.Queue(w.ctx, "INSERT INTO seg_change (part,rid,at,seg) VALUES (0,?,?,?) ON CONFLICT (part,rid,at) DO UPDATE SET seg=excluded.seg", rid, w.now, seg)
}
