package store

import (
	"trellis/fhir"
	"trellis/fhir/search"
)

// newRow gives a new resource its key. A Patient's key may have been reserved by references to it.
func (w *writer) newRow(c Change, typeNo int64) (int64, error) {
	if c.Type == "Patient" {
		return w.patientKey(c.ID)
	}
	return w.s.ids.next(), nil
}

// patientKey finds or reserves the key of a Patient; whether the Patient exists is not asked.
func (w *writer) patientKey(id string) (int64, error) {
	typeNo, err := w.intern(dictType, "Patient")
	if err != nil {
		return 0, err
	}
	rid := w.s.ids.next()
	if _, err := w.tx.Exec(w.ctx, "INSERT INTO ident (type_no,id,part,rid) VALUES (?,?,0,?) ON CONFLICT (type_no,id) DO NOTHING", typeNo, id, rid); err != nil {
		return 0, err
	}
	_, err = one(w.ctx, w.tx, "SELECT rid FROM ident WHERE type_no=? AND id=?", []any{typeNo, id}, &rid)
	return rid, err
}

// patients are the keys of the Patients whose compartment the resource is in; Provenance without one
// takes those of its targets.
func (w *writer) patients(c Change) ([]int64, error) {
	refs := w.s.registry.Patients(withID(c.Resource, c.ID), w.s.base)
	var keys []int64
	add := func(k int64) {
		for _, have := range keys {
			if have == k {
				return
			}
		}
		keys = append(keys, k)
	}
	for _, ref := range refs {
		k, err := w.patientKey(ref.ID)
		if err != nil {
			return nil, err
		}
		add(k)
	}
	if len(keys) > 0 || c.Type != "Provenance" {
		return keys, nil
	}
	for _, target := range c.Resource.Root.Get("target").List() {
		ref, ok := fhir.ParseReference(target.Get("reference").Text(), w.s.base)
		if !ok {
			continue
		}
		typeNo, err := w.intern(dictType, ref.Type)
		if err != nil {
			return nil, err
		}
		err = each(w.ctx, w.tx, "SELECT pat FROM res WHERE part=0 AND type_no=? AND id=? AND pat<>0 UNION SELECT a.pat FROM res r JOIN res_also a ON a.part=0 AND a.rid=r.rid WHERE r.part=0 AND r.type_no=? AND r.id=?",
			[]any{typeNo, ref.ID, typeNo, ref.ID}, func(r Rows) error {
				var pat int64
				if err := r.Scan(&pat); err != nil {
					return err
				}
				add(pat)
				return nil
			})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// withID is the resource under the id it is stored by.
func withID(r *fhir.Resource, id string) *fhir.Resource {
	c := *r
	c.ID = id
	return &c
}

func (w *writer) patientIDs(keys []int64) ([]string, error) {
	var out []string
	for _, k := range keys {
		var id string
		found, err := one(w.ctx, w.tx, "SELECT id FROM ident WHERE rid=?", []any{k}, &id)
		if err != nil {
			return nil, err
		}
		if found {
			out = append(out, id)
		}
	}
	return out, nil
}

// resRow is a head row about to be written.
type resRow struct {
	rid, typeNo         int64
	id                  string
	pats                []int64
	ver, seq, seg, hash int64
	clinical            search.Range
}

// owner is the Patient the row is filed under first; 0 for none.
func (r resRow) owner() int64 {
	if len(r.pats) == 0 {
		return 0
	}
	return r.pats[0]
}

func (w *writer) saveHead(r resRow, found bool) error {
	if !found {
		_, err := w.tx.Exec(w.ctx, "INSERT INTO res (part,rid,type_no,id,pat,npat,ver,seq,upd,del,seg,hash,lo,hi) VALUES (0,?,?,?,?,?,?,?,?,0,?,?,?,?)",
			r.rid, r.typeNo, r.id, r.owner(), len(r.pats), r.ver, r.seq, w.now, r.seg, r.hash, r.clinical.Lo, r.clinical.Hi)
		if err != nil {
			return err
		}
	} else {
		n, err := w.tx.Exec(w.ctx, "UPDATE res SET pat=?,npat=?,ver=?,seq=?,upd=?,del=0,seg=?,hash=?,lo=?,hi=? WHERE part=0 AND rid=? AND ver=?",
			r.owner(), len(r.pats), r.ver, r.seq, w.now, r.seg, r.hash, r.clinical.Lo, r.clinical.Hi, r.rid, r.ver-1)
		if err != nil {
			return err
		}
		if n != 1 {
			return ErrConflict
		}
		if _, err := w.tx.Exec(w.ctx, "DELETE FROM res_also WHERE part=0 AND rid=?", r.rid); err != nil {
			return err
		}
	}
	for i := 1; i < len(r.pats); i++ {
		if _, err := w.tx.Exec(w.ctx, "INSERT INTO res_also (part,rid,pat) VALUES (0,?,?)", r.rid, r.pats[i]); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) saveBody(r resRow, op int64, sealed fhir.Sealed) error {
	enc, doc := w.s.compress(sealed.Doc)
	_, err := w.tx.Exec(w.ctx, "INSERT INTO body (part,rid,ver,seq,at,type_no,pat,npat,seg,lo,hi,op,enc,doc,spans) VALUES (0,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		r.rid, r.ver, r.seq, w.now, r.typeNo, r.owner(), len(r.pats), r.seg, r.clinical.Lo, r.clinical.Hi, op, enc, doc, sealed.Spans())
	return err
}

// touch notes what the write changes about its patients: a new segment or a new fact changes grants.
func (w *writer) touch(typ string, r resRow) error {
	for _, pat := range r.pats {
		n, err := w.tx.Exec(w.ctx, "INSERT INTO patient_segment (part,pat,seg) VALUES (0,?,?) ON CONFLICT (part,pat,seg) DO NOTHING", pat, r.seg)
		if err != nil {
			return err
		}
		if n > 0 || factType(typ) {
			w.touched[pat] = true
		}
	}
	return nil
}

// touchFiled marks every patient a stored row is filed under.
func (w *writer) touchFiled(h head) error {
	if h.pat != 0 {
		w.touched[h.pat] = true
	}
	if h.npat < 2 {
		return nil
	}
	return each(w.ctx, w.tx, "SELECT pat FROM res_also WHERE part=0 AND rid=?", []any{h.rid}, func(r Rows) error {
		var pat int64
		err := r.Scan(&pat)
		w.touched[pat] = true
		return err
	})
}
