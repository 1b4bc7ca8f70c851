package store

import (
	"errors"
	"slices"
	"time"

	"trellis/auth/label"
	"trellis/fhir"
)

func (w *writer) put(c Change, typeNo int64, h *head) (Written, error) {
	labels, err := w.label(&c, *h)
	if err != nil {
		return Written{}, err
	}
	found := h.found()
	hash := fhir.ContentHash(c.Resource, c.ID)
	out := Written{Type: c.Type, ID: c.ID, Segment: c.Segment, Created: !found || h.deleted}
	if found && !h.deleted && h.hash == hash {
		same, err := w.sameLabels(h.seg, c.Segment)
		if err != nil {
			return Written{}, err
		}
		if same {
			if err := w.noteLabels(h, labels); err != nil {
				return Written{}, err
			}
			return w.unchanged(*h, out)
		}
	}
	before, filed, err := w.stands(c.Type, c.ID, h)
	if err != nil {
		return Written{}, err
	}
	if err := w.noteAgreement(c.Type, c.Resource, h); err != nil {
		return Written{}, err
	}
	if err := w.unreserve(c.Type, h); err != nil {
		return Written{}, err
	}
	ref := fhir.Reference{Type: c.Type, ID: c.ID}
	w.keys[ref], w.reserved[ref] = h.rid, false
	pats, err := w.patients(c)
	if err != nil {
		return Written{}, err
	}
	marked, err := w.marked(c.Segment, c.Resource, c.Type, c.ID, pats)
	if err != nil {
		return Written{}, err
	}
	seg, err := w.internSegment(marked)
	if err != nil {
		return Written{}, err
	}
	sealed := fhir.Seal(c.Resource, c.ID, h.ver+1, w.at(), w.s.base)
	values := w.s.registry.Extract(c.Resource, w.s.base)
	row := resRow{rid: h.rid, typeNo: typeNo, id: c.ID, pats: pats, ver: h.ver + 1, seq: w.s.ids.next(), seg: seg, pack: labels.pack, given: labels.given, hash: hash, clinical: values.Clinical}
	if found && (h.seg != seg || h.clinical != values.Clinical || !slices.Equal(filed, pats)) {
		w.noteMoved(filed)
	}
	if err := w.saveHead(row, *h); err != nil {
		return Written{}, err
	}
	op := int64(Update)
	if out.Created {
		op = int64(Create)
	}
	w.saveBody(row, op, sealed)
	after, err := w.rows(c.Type, row.rid, pats, values)
	if err != nil {
		return Written{}, err
	}
	if err := w.index(before, after); err != nil {
		return Written{}, err
	}
	if w.rowCount > maxIndexRows {
		return Written{}, ErrTooMany
	}
	if err := w.touch(c.Type, row); err != nil {
		return Written{}, err
	}
	if err := w.vouch(c, row.rid); err != nil {
		return Written{}, err
	}
	*h = head{rid: row.rid, pat: row.owner(), seq: row.seq, ver: row.ver, upd: w.now, seg: seg, pack: labels.pack, given: labels.given, hash: hash, npat: int64(len(pats)), clinical: values.Clinical, present: true}
	w.filed[ref] = pats
	out.Version, out.Updated, out.Doc, out.Spans = row.ver, w.at(), sealed.Doc, sealed.Spans()
	out.Patients, err = w.patientIDs(pats)
	return out, err
}

// sameLabels reports whether a stored segment is the given one, marks apart: those follow from the content, which is the same.
func (w *writer) sameLabels(stored int64, seg label.Segment) (bool, error) {
	have, err := w.segment(stored)
	return have.Marked(nil).Key() == seg.Marked(nil).Key(), err
}

// stands is the index rows of what a head points at now, and whom it is filed under; none where nothing stands. A
// fact that stood there may change the grants of whom it was about.
func (w *writer) stands(typ, id string, h *head) (rows indexRows, filed []int64, err error) {
	if !h.found() || h.deleted {
		return rows, nil, nil
	}
	if err := w.flush(); err != nil { // this transaction may have written it
		return rows, nil, err
	}
	if filed, err = w.filedNow(*h); err != nil {
		return rows, nil, err
	}
	if factType(typ) {
		w.touchFiled(filed)
	}
	sealed, err := w.stored(*h)
	if err != nil {
		return rows, nil, err
	}
	res, err := fhir.ReadTrusted(sealed.Doc)
	if err != nil {
		return rows, nil, err
	}
	rows, err = w.rows(typ, h.rid, filed, w.s.registry.Extract(withID(res, id), w.s.base))
	return rows, filed, err
}

// noteMoved marks patients a record of whom was deleted or is decided about otherwise than before: what was known of
// who may see it is known no longer.
func (w *writer) noteMoved(pats []int64) {
	for _, pat := range pats {
		w.moved[pat] = true
	}
}

// errNoBody is a head that points at nothing.
var errNoBody = errors.New("store: a resource has a head but no body")

// unchanged reports the stored version of an identical body.
func (w *writer) unchanged(h head, out Written) (Written, error) {
	out.Unchanged, out.Version, out.Updated = true, h.ver, time.UnixMicro(h.upd).UTC()
	if err := w.flush(); err != nil {
		return Written{}, err
	}
	sealed, err := w.stored(h)
	if err != nil {
		return Written{}, err
	}
	out.Doc, out.Spans = sealed.Doc, sealed.Spans()
	if h.pat != 0 {
		out.Patients, err = w.patientIDs([]int64{h.pat})
	}
	return out, err
}

func (w *writer) remove(c Change, h *head) (Written, error) {
	switch {
	case !h.found():
		return Written{}, ErrNotFound
	case c.IfMatch != 0 && h.ver != c.IfMatch:
		return Written{}, ErrPrecondition
	}
	out := Written{Type: c.Type, ID: c.ID, Version: h.ver, Updated: time.UnixMicro(h.upd).UTC(), Deleted: true, Segment: w.s.Segment(h.seg)}
	if h.deleted {
		out.Unchanged = true
		return out, nil
	}
	before, filed, err := w.stands(c.Type, c.ID, h)
	if err != nil {
		return Written{}, err
	}
	if err := w.noteAgreement(c.Type, nil, h); err != nil {
		return Written{}, err
	}
	w.noteMoved(filed)
	seq := w.s.ids.next()
	if err := w.tx.Queue(w.ctx, "UPDATE res SET ver=?,seq=?,upd=?,del=1,hash=0 WHERE part=0 AND rid=?", h.ver+1, seq, w.now, h.rid); err != nil {
		return Written{}, err
	}
	if err := w.tx.Queue(w.ctx, "INSERT INTO body (part,rid,ver,seq,at,type_no,pat,npat,seg,lo,hi,op,enc,doc) SELECT 0,rid,ver,seq,upd,type_no,pat,npat,seg,lo,hi,CAST(? AS SMALLINT),0,CAST(? AS "+w.s.dialect.Blob+") FROM res WHERE part=0 AND rid=?", int64(Delete), []byte{}, h.rid); err != nil {
		return Written{}, err
	}
	if err := w.index(before, indexRows{}); err != nil {
		return Written{}, err
	}
	h.ver, h.seq, h.upd, h.hash, h.deleted = h.ver+1, seq, w.now, 0, true
	out.Version, out.Updated = h.ver, w.at()
	if h.pat != 0 {
		out.Patients, err = w.patientIDs([]int64{h.pat})
	}
	return out, err
}
