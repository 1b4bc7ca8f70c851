package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir/search"
)

// The kinds of dictionary. Numbers are interned once and never change.
const (
	dictType    = 1
	dictParam   = 2
	dictSystem  = 3
	dictOrg     = 4
	dictPurpose = 5
	dictUnit    = 6
	dictGiven   = 7 // labels a mapping gave, as JSON
	dictPack    = 8 // rule packs
)

type dictKey struct {
	kind int64
	name string
}

func (s *Store) loadDictionaries(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dicts, s.names = map[dictKey]int64{}, map[int64]map[int64]string{}
	s.segments, s.segKeys = map[int64]label.Segment{}, map[string]int64{}
	return s.engine.Read(ctx, func(tx Tx) error {
		err := each(ctx, tx, "SELECT kind,no,name FROM dict", nil, func(r Rows) error {
			var kind, no int64
			var name string
			if err := r.Scan(&kind, &no, &name); err != nil {
				return err
			}
			s.remember(kind, no, name)
			return nil
		})
		if err != nil {
			return err
		}
		return each(ctx, tx, "SELECT seg,key,body FROM segment", nil, s.rememberSegment)
	})
}

// remember is called with mu held.
func (s *Store) remember(kind, no int64, name string) {
	s.dicts[dictKey{kind, name}] = no
	if s.names[kind] == nil {
		s.names[kind] = map[int64]string{}
	}
	s.names[kind][no] = name
}

func (s *Store) rememberSegment(r Rows) error {
	var no int64
	var key, body string
	if err := r.Scan(&no, &key, &body); err != nil {
		return err
	}
	var seg label.Segment
	if err := json.Unmarshal([]byte(body), &seg); err != nil {
		return fmt.Errorf("store: segment %d: %w", no, err)
	}
	s.segments[no], s.segKeys[key] = seg, no
	return nil
}

// cached finds a number this process knows; zero when it does not.
func (s *Store) cached(kind int64, name string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.dicts[dictKey{kind, name}]
}

// lookup finds a number outside of writes, asking the database when another replica may have made it.
// Zero means the name has never been stored.
func (s *Store) lookup(ctx context.Context, tx Tx, kind int64, name string) (int64, error) {
	if no := s.cached(kind, name); no != 0 {
		return no, nil
	}
	var no int64
	found, err := one(ctx, tx, "SELECT no FROM dict WHERE kind=? AND name=?", []any{kind, name}, &no)
	if err != nil || !found {
		return 0, err
	}
	if _, ok := tx.(unshared); ok {
		return no, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(kind, no, name)
	return no, nil
}

// intern finds or makes a number inside a write. What the write made is shared only after its commit. Numbers
// are dense: they stand in every index row.
func (w *writer) intern(kind int64, name string) (int64, error) {
	if no := w.s.cached(kind, name); no != 0 {
		return no, nil
	}
	if no, ok := w.interned[dictKey{kind, name}]; ok {
		return no, nil
	}
	no, err := w.number("SELECT no FROM dict WHERE kind=? AND name=?", []any{kind, name},
		"INSERT INTO dict (kind,no,name) SELECT CAST(? AS SMALLINT),COALESCE(MAX(no),0)+1,CAST(? AS TEXT) FROM dict WHERE kind=? ON CONFLICT DO NOTHING", []any{kind, name, kind})
	if err == nil {
		w.interned[dictKey{kind, name}] = no
	}
	return no, err
}

// number finds a row's number or makes the row with the next one. Another replica may take the same number
// first: then there is another after it.
func (w *writer) number(find string, key []any, insert string, row []any) (int64, error) {
	for range maxConflicts {
		var no int64
		found, err := one(w.ctx, w.tx, find, slices.Clone(key), &no)
		if err != nil || found {
			return no, err
		}
		if _, err := w.tx.Exec(w.ctx, insert, slices.Clone(row)...); err != nil {
			return 0, err
		}
	}
	return 0, ErrConflict
}

// internSegment finds or makes a segment's number inside a write.
func (w *writer) internSegment(seg label.Segment) (int64, error) {
	key := seg.Key()
	w.s.mu.RLock()
	no, ok := w.s.segKeys[key]
	w.s.mu.RUnlock()
	if ok {
		return no, nil
	}
	if no, ok := w.newSegments[key]; ok {
		return no.No, nil
	}
	no, err := w.number("SELECT seg FROM segment WHERE key=?", []any{key},
		"INSERT INTO segment (seg,key,body) SELECT COALESCE(MAX(seg),0)+1,CAST(? AS TEXT),CAST(? AS TEXT) FROM segment WHERE 1=1 ON CONFLICT DO NOTHING", []any{key, key})
	if err == nil {
		w.newSegments[key] = access.NumberedSegment{No: no, Segment: seg}
	}
	return no, err
}

// committed takes what a write interned into the shared dictionaries.
func (w *writer) committed() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for k, no := range w.interned {
		w.s.remember(k.kind, no, k.name)
	}
	for key, n := range w.newSegments {
		w.s.segments[n.No], w.s.segKeys[key] = n.Segment, n.No
	}
	w.s.keys.learn(w.keys, w.reserved, w.segments)
	for ref, pats := range w.filed {
		if len(pats) == 1 {
			w.s.locate(ref, pats[0])
		}
	}
}

// name is the text of a number, "" when unknown.
func (s *Store) name(kind, no int64) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names[kind][no]
}

// Segment is the segment with that number; an unknown number is the zero segment, which nobody may see.
func (s *Store) Segment(no int64) label.Segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.segments[no]
}

// custodian is the organisation of a segment, "" when unknown.
func (s *Store) custodian(seg int64) string { return s.Segment(seg).Custodian }

// Segments lists all segments, reading those other replicas made since the last call.
func (s *Store) Segments(ctx context.Context) ([]access.NumberedSegment, error) {
	var count int64
	err := s.engine.Read(ctx, func(tx Tx) error {
		_, err := one(ctx, tx, "SELECT COUNT(*) FROM segment", nil, &count)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	stale := count != int64(len(s.segments))
	s.mu.RUnlock()
	if stale {
		if err := s.loadDictionaries(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]access.NumberedSegment, 0, len(s.segments))
	for no, seg := range s.segments {
		out = append(out, access.NumberedSegment{No: no, Segment: seg})
	}
	return out, nil
}

// KnownSegments is how many segments this process knows.
func (s *Store) KnownSegments() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.segments)
}

// knownSegments is every segment this process knows, by number.
func (s *Store) knownSegments() map[int64]label.Segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return maps.Clone(s.segments)
}

// units is every unit of measure this process has met, by number.
func (s *Store) units() map[int64]search.Unit {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[int64]search.Unit, len(s.names[dictUnit]))
	for no, name := range s.names[dictUnit] {
		system, code, _ := strings.Cut(name, "|")
		out[no] = search.Unit{System: system, Code: code}
	}
	return out
}
