package store

import (
	"maps"
	"slices"

	"trellis/fhir"
	"trellis/fhir/search"
)

// head is a res row. present is true for a reserved key too, found only where there is a resource.
type head struct {
	rid, pat, seq, ver, upd, seg, hash, npat int64
	pack, given                              int64
	clinical                                 search.Range
	deleted, present                         bool
}

func (h head) found() bool { return h.ver > 0 }

// lockHeads locks and reads the head rows of what is changed, a statement for each type, and gives what is new its
// row key. A row this transaction has locked before is not read again.
func (w *writer) lockHeads(changes []Change) error {
	byType := map[string]Strings{}
	var met []fhir.Reference
	for _, c := range changes {
		ref := fhir.Reference{Type: c.Type, ID: c.ID}
		if w.heads[ref] != nil || c.Method == Skip {
			continue
		}
		w.heads[ref] = &head{}
		met = append(met, ref)
		if !c.Fresh {
			byType[c.Type] = append(byType[c.Type], c.ID)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(byType)) { // one order for all: no deadlocks between transactions
		if err := w.readHeads(typ, byType[typ]); err != nil {
			return err
		}
	}
	for _, ref := range met {
		h := w.heads[ref]
		if !h.present {
			k, err := w.s.rowKey()
			if err != nil {
				return err
			}
			h.rid = k
		}
		w.keys[ref] = h.rid
	}
	var referred []fhir.Reference
	if len(changes) > 1 {
		for _, c := range changes {
			if c.Resource != nil {
				referred = append(referred, fhir.References(c.Resource.Root, w.s.base)...)
			}
		}
	}
	return w.findKeys(referred)
}

// head locks and reads one head row.
func (w *writer) head(ref fhir.Reference) (*head, error) {
	if w.heads[ref] == nil {
		if err := w.readHeads(ref.Type, Strings{ref.ID}); err != nil {
			return nil, err
		}
	}
	if h := w.heads[ref]; h != nil {
		return h, nil
	}
	return &head{}, nil
}

func (w *writer) readHeads(typ string, ids Strings) error {
	typeNo, err := w.intern(dictType, typ)
	if err != nil {
		return err
	}
	sql, args := "SELECT id,rid,pat,npat,seq,ver,upd,del,seg,hash,lo,hi,pack,given FROM res WHERE part=0 AND type_no=? AND ", []any{typeNo}
	if len(ids) == 1 {
		sql, args = sql+"id=?", append(args, ids[0])
	} else {
		slices.Sort(ids) // and here
		sql, args = sql+w.s.dialect.In("id")+" ORDER BY id", append(args, ids)
	}
	if w.s.dialect.Name == "postgres" {
		sql += " FOR UPDATE"
	}
	return each(w.ctx, w.tx, sql, args, func(r Rows) error {
		var h head
		var del int64
		var id string
		if err := r.Scan(&id, &h.rid, &h.pat, &h.npat, &h.seq, &h.ver, &h.upd, &del, &h.seg, &h.hash, &h.clinical.Lo, &h.clinical.Hi, &h.pack, &h.given); err != nil {
			return err
		}
		h.deleted, h.present = del == 1 && h.ver > 0, true
		w.heads[fhir.Reference{Type: typ, ID: id}] = &h
		return nil
	})
}
