package store

import (
	"time"

	"trellis/fhir"
	"trellis/fhir/search"
)

// patients are the keys of the Patients whose compartment the resource is in; Provenance without one
// takes those of its targets.
func (w *writer) patients(c Change) ([]int64, error) {
	var keys []int64
	add := func(k int64) {
		for _, have := range keys {
			if have == k {
				return
			}
		}
		keys = append(keys, k)
	}
	for _, ref := range w.s.registry.Patients(withID(c.Resource, c.ID), w.s.base) {
		k, err := w.key(ref)
		if err != nil {
			return nil, err
		}
		w.patientOf[k] = ref.ID
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
		filed, err := w.filedUnder(ref)
		if err != nil {
			return nil, err
		}
		for _, pat := range filed {
			add(pat)
		}
	}
	return keys, nil
}

// filedUnder lists the patients a stored resource is filed under.
func (w *writer) filedUnder(ref fhir.Reference) ([]int64, error) {
	if pats, ok := w.filed[ref]; ok { // written just now
		return pats, nil
	}
	typeNo, err := w.intern(dictType, ref.Type)
	if err != nil {
		return nil, err
	}
	var out []int64
	err = each(w.ctx, w.tx, "SELECT pat FROM res WHERE part=0 AND type_no=? AND id=? AND pat<>0 UNION ALL SELECT a.pat FROM res r JOIN res_also a ON a.part=0 AND a.rid=r.rid WHERE r.part=0 AND r.type_no=? AND r.id=?",
		[]any{typeNo, ref.ID, typeNo, ref.ID}, func(r Rows) error {
			var pat int64
			err := r.Scan(&pat)
			out = append(out, pat)
			return err
		})
	return out, err
}

// withID is the resource under the id it is stored by.
func withID(r *fhir.Resource, id string) *fhir.Resource {
	if r.ID == id {
		return r
	}
	c := *r
	c.ID = id
	return &c
}

func (w *writer) patientIDs(keys []int64) ([]string, error) {
	var out []string
	for _, k := range keys {
		id, ok := w.patientOf[k]
		if !ok {
			var err error
			if id, err = w.s.patientID(w.ctx, w.tx, k); err != nil {
				return nil, err
			}
		}
		if id != "" {
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
	pack, given         int64
	clinical            search.Range
}

// owner is the Patient the row is filed under first; 0 for none.
func (r resRow) owner() int64 {
	if len(r.pats) == 0 {
		return 0
	}
	return r.pats[0]
}

// The columns of the rows a version makes.
const (
	resColumns  = "rid,pat,seq,upd,hash,lo,hi,type_no,ver,seg,pack,given,npat,del,id"
	bodyColumns = "seq,rid,at,pat,lo,hi,type_no,ver,seg,npat,op,enc,doc"
)

// saveHead writes the head row: a new one, or over the one that stood there, which the transaction has locked.
func (w *writer) saveHead(r resRow, h head) error {
	if !h.present {
		w.insert("res", resColumns, []any{r.rid, r.owner(), r.seq, w.now, r.hash, r.clinical.Lo, r.clinical.Hi, r.typeNo, r.ver, r.seg, r.pack, r.given, len(r.pats), 0, r.id})
	} else {
		err := w.tx.Queue(w.ctx, "UPDATE res SET pat=?,npat=?,ver=?,seq=?,upd=?,del=0,seg=?,pack=?,given=?,hash=?,lo=?,hi=? WHERE part=0 AND rid=?",
			r.owner(), len(r.pats), r.ver, r.seq, w.now, r.seg, r.pack, r.given, r.hash, r.clinical.Lo, r.clinical.Hi, r.rid)
		if err != nil {
			return err
		}
		if h.npat > 1 {
			if err := w.tx.Queue(w.ctx, "DELETE FROM res_also WHERE part=0 AND rid=?", r.rid); err != nil {
				return err
			}
		}
	}
	for i, pat := range r.pats {
		if len(r.pats) > 1 {
			w.shared[pat] = true
		}
		if i > 0 {
			w.insert("res_also", "rid,pat", []any{r.rid, pat})
		}
	}
	return nil
}

func (w *writer) saveBody(r resRow, op int64, sealed fhir.Sealed) {
	enc, doc := w.s.compress(sealed)
	w.insert("body", bodyColumns, []any{r.seq, r.rid, w.now, r.owner(), r.clinical.Lo, r.clinical.Hi, r.typeNo, r.ver, r.seg, len(r.pats), op, enc, doc})
}

// touch notes what the write changes about its patients: a new segment or a new fact changes grants.
func (w *writer) touch(typ string, r resRow) error {
	for _, pat := range r.pats {
		if factType(typ) {
			w.touched[pat] = true
		}
		pair := [2]int64{pat, r.seg}
		if _, known := w.s.keys.segments.get(pair); known || w.segments[pair] {
			continue
		}
		n, err := w.tx.Exec(w.ctx, "INSERT INTO patient_segment (part,pat,seg) VALUES (0,?,?) ON CONFLICT (part,pat,seg) DO NOTHING", pat, r.seg)
		if err != nil {
			return err
		}
		w.segments[pair] = true
		if n > 0 {
			w.touched[pat] = true
		}
	}
	return nil
}

// touchFiled marks every patient a stored row is filed under.
func (w *writer) touchFiled(pats []int64) {
	for _, pat := range pats {
		w.touched[pat] = true
	}
}

// filedNow lists the patients a head row is filed under.
func (w *writer) filedNow(h head) ([]int64, error) {
	if h.pat == 0 {
		return nil, nil
	}
	out := []int64{h.pat}
	if h.npat < 2 {
		return out, nil
	}
	err := each(w.ctx, w.tx, "SELECT pat FROM res_also WHERE part=0 AND rid=?", []any{h.rid}, func(r Rows) error {
		var pat int64
		err := r.Scan(&pat)
		out = append(out, pat)
		return err
	})
	return out, err
}

// stored reads the version a head points at.
func (w *writer) stored(h head) (fhir.Sealed, error) {
	var enc int64
	var doc []byte
	found, err := one(w.ctx, w.tx, "SELECT enc,doc FROM body WHERE part=0 AND seq=?", []any{h.seq}, &enc, &doc)
	if err != nil {
		return fhir.Sealed{}, err
	}
	if !found {
		return fhir.Sealed{}, errNoBody
	}
	return w.s.decompress(enc, doc)
}

// at is the time of the write.
func (w *writer) at() time.Time { return time.UnixMicro(w.now).UTC() }
