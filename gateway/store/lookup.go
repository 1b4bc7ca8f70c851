package store

import (
	"context"
	"slices"
	"time"

	"trellis/fhir"
)

// lookupKnown finds a resource whose patient is known from before, by that patient's view: the statement of a plain
// key look-up. known is false when the patient, its epoch or the view is not what it was; then nothing is decided,
// and the filter's own statement is asked.
func (s *Store) lookupKnown(ctx context.Context, tx Tx, c compiled, ref fhir.Reference, typeNo, now int64, t *Target) (known bool, err error) {
	pat, ok := s.located.get(ref)
	if !ok || c.parts || !c.exactly(ref.Type, pat) {
		return false, nil
	}
	v, err := s.viewOf(ctx, tx, c, pat, now)
	if err != nil || !v.exact {
		return false, err
	}
	segments := v.segmentsFor(c, pat)
	found := Target{Row: Row{Type: ref.Type, ID: ref.ID}}
	row := &found.Row
	var ver, seq int64
	s.counts.add("lookup")
	found.Exists, err = one(ctx, tx, "SELECT r.rid,r.pat,r.npat,r.seg,r.lo,r.hi,r.ver,r.seq,COALESCE(ps.epoch,-1) FROM res r LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat WHERE r.part=0 AND r.type_no=? AND r.id=? AND r.ver>0",
		[]any{typeNo, ref.ID}, &row.rid, &row.pat, &row.npat, &row.Segment, &row.period.Lo, &row.period.Hi, &ver, &seq, &row.epoch)
	if err != nil || !found.Exists || row.pat != pat || row.npat != 1 {
		return false, err
	}
	if row.epoch > v.epoch {
		s.views.forget(viewKey{pat, c.org, c.purpose}) // the next look-up reads it anew
	}
	if row.epoch != v.epoch {
		return false, nil
	}
	if found.Visible = slices.Contains(segments, row.Segment); found.Visible {
		kept, err := s.versionAt(ctx, tx, seq)
		if err != nil {
			return false, err
		}
		row.Relabelled = !s.sameLabels(row.Segment, kept.seg)
		row.Segment = s.governing(row.Segment, kept.seg)
		row.Version, row.Updated, row.Method = ver, time.UnixMicro(kept.at).UTC(), kept.method
		row.Deleted = row.Method == Delete
		row.sealed, row.Doc = kept.sealed, kept.sealed.Doc
	}
	found.Subject, err = s.subject(ctx, tx, row)
	*t = found
	return true, err
}

// keptVersion is a stored version: what is written once and never changes.
type keptVersion struct {
	sealed fhir.Sealed // shared by all who read it: never to be changed
	seg    int64
	at     int64
	method Method
}

// newVersions keeps the versions read last. They cannot change, so it is never wrong; who may see one is decided from the head
// row each time.
func newVersions() *cache[int64, keptVersion] {
	return newWeighedCache[int64](maxVersionBytes, func(v keptVersion) int { return len(v.sealed.Doc) + 200 })
}

// maxVersionBytes bounds the versions kept.
const maxVersionBytes = 24 << 20

// versionAt is a version by its sequence number.
func (s *Store) versionAt(ctx context.Context, tx Tx, seq int64) (keptVersion, error) {
	if v, ok := s.versions.get(seq); ok {
		return v, nil
	}
	v, err := s.readVersions(ctx, tx, Int64s{seq})
	if err != nil {
		return keptVersion{}, err
	}
	s.versions.put(seq, v[seq])
	return v[seq], nil
}

// maxKeptAtOnce is the most bodies of one page that are kept: longer lists would push out what is read again and again.
const maxKeptAtOnce = 100

// fill gives rows their bodies: those at hand, and the others with one statement.
func (s *Store) fill(ctx context.Context, tx Tx, rows []Row) error {
	var missing Int64s
	for i := range rows {
		if v, ok := s.versions.get(rows[i].seq); ok {
			rows[i].seal(v.sealed)
		} else {
			missing = append(missing, rows[i].seq)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	read, err := s.readVersions(ctx, tx, missing)
	if err != nil {
		return err
	}
	for i := range rows {
		if v, ok := read[rows[i].seq]; ok {
			rows[i].seal(v.sealed)
		}
	}
	if len(read) <= maxKeptAtOnce {
		for seq, v := range read {
			s.versions.put(seq, v)
		}
	}
	return nil
}

// readVersions reads versions by their sequence numbers; one that is not there is an error.
func (s *Store) readVersions(ctx context.Context, tx Tx, seqs Int64s) (map[int64]keptVersion, error) {
	out := make(map[int64]keptVersion, len(seqs))
	where, arg := s.dialect.In("seq"), any(seqs)
	if len(seqs) == 1 {
		where, arg = "seq=?", seqs[0]
	}
	err := each(ctx, tx, "SELECT seq,seg,at,op,enc,doc FROM body WHERE part=0 AND "+where, []any{arg}, func(r Rows) error {
		var v keptVersion
		var seq, op, enc int64
		var doc []byte
		err := r.Scan(&seq, &v.seg, &v.at, &op, &enc, &doc)
		if err != nil {
			return err
		}
		v.method = Method(op)
		if v.sealed, err = s.decompress(enc, doc); err != nil {
			return err
		}
		out[seq] = v
		return nil
	})
	if err == nil && len(out) < len(seqs) {
		err = errNoBody
	}
	return out, err
}
