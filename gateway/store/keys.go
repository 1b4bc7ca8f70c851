package store

import (
	"context"

	"trellis/fhir"
)

// keyCache keeps the row keys of resources by type and id, and the ids of Patients by key. A key never changes
// once it is committed, so the cache is never wrong.
type keyCache struct {
	keys     *cache[fhir.Reference, int64]
	patients *cache[int64, string]
	segments *cache[[2]int64, bool] // (patient key, segment) pairs known to be recorded
}

// maxCachedKeys bounds each part of the cache.
const maxCachedKeys = 200_000

func newKeyCache() keyCache {
	return keyCache{newCache[fhir.Reference, int64](maxCachedKeys), newCache[int64, string](maxCachedKeys), newCache[[2]int64, bool](maxCachedKeys)}
}

// learn takes what a committed write found or made. A reserved key is not for keeping: it may be given up.
func (c *keyCache) learn(keys map[fhir.Reference]int64, reserved map[fhir.Reference]bool, segments map[[2]int64]bool) {
	for ref, k := range keys {
		if reserved[ref] && ref.Type != "Patient" {
			continue
		}
		c.keys.put(ref, k)
		if ref.Type == "Patient" {
			c.patients.put(k, ref.ID)
		}
	}
	for pair := range segments {
		c.segments.put(pair, true)
	}
}

// key is the row key of a resource, found or reserved; whether the resource exists is not asked. A reserved key is
// given up when its resource comes (see unreserve), except a Patient's, which everything about the patient carries.
func (w *writer) key(ref fhir.Reference) (int64, error) {
	if k, ok := w.keys[ref]; ok {
		return k, nil
	}
	if k, ok := w.s.keys.keys.get(ref); ok {
		return k, nil
	}
	typeNo, err := w.intern(dictType, ref.Type)
	if err != nil {
		return 0, err
	}
	for range maxConflicts {
		k, found, err := w.findKey(typeNo, ref)
		if err != nil || found {
			return k, err
		}
		if k, err = w.s.rowKey(); err != nil {
			return 0, err
		}
		n, err := w.tx.Exec(w.ctx, "INSERT INTO res (rid,pat,seq,upd,hash,lo,hi,type_no,ver,seg,pack,part,npat,del,id) VALUES (?,0,0,0,0,0,0,?,0,0,-1,0,0,1,?) ON CONFLICT (part,type_no,id) DO NOTHING", k, typeNo, ref.ID)
		if err != nil {
			return 0, err
		}
		if n == 1 {
			w.keys[ref], w.reserved[ref] = k, true
			return k, nil
		}
	}
	return 0, ErrConflict
}

// findKey reads a key. While this transaction refers to a reserved one, nobody gives it up.
func (w *writer) findKey(typeNo int64, ref fhir.Reference) (k int64, found bool, err error) {
	var ver int64
	sql := "SELECT rid,ver FROM res WHERE part=0 AND type_no=? AND id=?"
	found, err = one(w.ctx, w.tx, sql, []any{typeNo, ref.ID}, &k, &ver)
	if found && ver == 0 && w.s.dialect.Name == "postgres" {
		found, err = one(w.ctx, w.tx, sql+" FOR SHARE", []any{typeNo, ref.ID}, &k, &ver)
	}
	if found {
		w.keys[ref], w.reserved[ref] = k, ver == 0
	}
	return k, found, err
}

// unreserve gives a resource a row key of its own in place of the reserved one, which tells when the first reference
// to it was written: the order of search results must not tell of a record the caller may not see.
func (w *writer) unreserve(typ string, h *head) error {
	if !h.present || h.found() || typ == "Patient" {
		return nil
	}
	k, err := w.s.rowKey()
	if err != nil {
		return err
	}
	if err := w.tx.Queue(w.ctx, "UPDATE idx_ref SET target=? WHERE part=0 AND target=?", k, h.rid); err != nil {
		return err
	}
	if err := w.tx.Queue(w.ctx, "DELETE FROM res WHERE part=0 AND rid=? AND ver=0", h.rid); err != nil {
		return err
	}
	h.rid, h.present = k, false
	return nil
}

// findKeys looks up the keys of many references at once, a statement for each type.
func (w *writer) findKeys(refs []fhir.Reference) error {
	byType := map[string]Strings{}
	for _, ref := range refs {
		if _, ok := w.keys[ref]; ok {
			continue
		}
		if _, ok := w.s.keys.keys.get(ref); !ok {
			byType[ref.Type] = append(byType[ref.Type], ref.ID)
		}
	}
	for typ, ids := range byType {
		if len(ids) < 2 {
			continue // key finds one as quickly
		}
		typeNo, err := w.intern(dictType, typ)
		if err != nil {
			return err
		}
		err = each(w.ctx, w.tx, "SELECT id,rid FROM res WHERE part=0 AND ver>0 AND type_no=? AND "+w.s.dialect.In("id"), []any{typeNo, ids}, func(r Rows) error {
			var id string
			var k int64
			err := r.Scan(&id, &k)
			w.keys[fhir.Reference{Type: typ, ID: id}] = k
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lookupKey is the row key of a resource outside of writes, or -1, which no row carries.
func (s *Store) lookupKey(ctx context.Context, tx Tx, ref fhir.Reference) (int64, error) {
	if k, ok := s.keys.keys.get(ref); ok {
		return k, nil
	}
	typeNo, err := s.lookup(ctx, tx, dictType, ref.Type)
	if err != nil {
		return 0, err
	}
	k, ver := int64(-1), int64(0)
	found, err := one(ctx, tx, "SELECT rid,ver FROM res WHERE part=0 AND type_no=? AND id=?", []any{typeNo, ref.ID}, &k, &ver)
	if _, ok := tx.(unshared); err == nil && found && (ver > 0 || ref.Type == "Patient") && !ok {
		s.keys.learn(map[fhir.Reference]int64{ref: k}, nil, nil)
	}
	return k, err
}

// patientID is the id of a Patient by its row key.
func (s *Store) patientID(ctx context.Context, tx Tx, key int64) (string, error) {
	if id, ok := s.keys.patients.get(key); ok {
		return id, nil
	}
	var id string
	found, err := one(ctx, tx, "SELECT id FROM res WHERE part=0 AND rid=?", []any{key}, &id)
	if _, ok := tx.(unshared); err == nil && found && !ok {
		s.keys.patients.put(key, id)
	}
	return id, err
}

// locate remembers which patient a resource was found to be about. It is a hint: whoever uses it checks.
func (s *Store) locate(ref fhir.Reference, pat int64) {
	if known, ok := s.located.get(ref); !ok || known != pat {
		s.located.put(ref, pat)
	}
}
