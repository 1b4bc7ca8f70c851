package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"trellis/auth/label"
	"trellis/fhir"
)

// Sent is what a record's keeper last sent of it, as far as FHIR holds it.
type Sent struct {
	Organization, Kind, Key string

	Pack string    // version of the pack that mapped it
	At   time.Time // when it was sent; zero, as it is written: now
	View []byte    // the record, JSON in the shape of its schema
	// Differs says that what is stored of it is not what was sent alone: changes made elsewhere are in it.
	Differs bool
	// Respelled says that it is what was sent, and some of it is stored as somebody else spelled it.
	Respelled bool
	// Resources are the record's own, not those it shares with others, in the versions that delivery left them in.
	Resources []Kept
}

// Kept is an own resource as it stands.
type Kept struct {
	Type, ID string
	Version  int64
	Deleted  bool
	Resource *fhir.Resource // without labels; nil when it is deleted, or was not read
	Segment  label.Segment
	Given    label.Given // labels it was brought with, and those a mapping gave it
	// Plain says, of a resource of Sent, that it was stored as it was sent.
	Plain bool
}

// Reference is the resource's.
func (s Kept) Reference() fhir.Reference { return fhir.Reference{Type: s.Type, ID: s.ID} }

// Sent is what is on file of a record of the owner's, with whether any of its resources was changed since; found is false when
// nothing is. The resources stay locked until the transaction ends.
func (v *View) Sent(kind, key string) (sent Sent, changed, found bool, err error) {
	w := v.w
	lock := "" // two deliveries of one record go one after the other
	if w.s.dialect.Name == "postgres" {
		lock = " FOR UPDATE"
	}
	if sent, found, err = readSent(w.ctx, w.tx, v.owner, kind, key, lock); err != nil || !found {
		return sent, false, found, err
	}
	refs := make([]fhir.Reference, len(sent.Resources))
	for i, r := range sent.Resources {
		refs[i] = r.Reference()
	}
	if err := w.lock(refs); err != nil {
		return sent, false, false, err
	}
	changed = sent.Differs || sent.Respelled
	for _, r := range sent.Resources {
		h := w.heads[r.Reference()]
		changed = changed || h == nil || h.ver != r.Version
	}
	return sent, changed, true, nil
}

// lock locks and reads head rows, type by type in one order for all.
func (w *writer) lock(refs []fhir.Reference) error {
	byType := map[string]Strings{}
	for _, ref := range refs {
		if w.heads[ref] == nil && !slices.Contains(byType[ref.Type], ref.ID) {
			byType[ref.Type] = append(byType[ref.Type], ref.ID)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		if err := w.readHeads(typ, byType[typ]); err != nil {
			return err
		}
	}
	return nil
}

// Kept is an own resource as it stands, a deleted one too, locked until the transaction ends. One that is unknown or
// another's is ErrNotFound.
func (v *View) Kept(ref fhir.Reference) (Kept, error) {
	w := v.w
	h, err := w.head(ref)
	if err != nil {
		return Kept{}, err
	}
	segment, given, err := w.givenTo(*h)
	if err != nil {
		return Kept{}, err
	}
	if !h.found() || segment.Custodian != v.owner {
		return Kept{}, ErrNotFound
	}
	out := Kept{Type: ref.Type, ID: ref.ID, Version: h.ver, Deleted: h.deleted, Segment: segment, Given: given}
	if h.deleted {
		return out, nil
	}
	kept, err := w.unchanged(*h, Written{})
	if err != nil {
		return Kept{}, err
	}
	out.Resource, err = fhir.ReadTrusted(kept.Doc)
	return out, err
}

const sentColumns = "sid,at,differs,pack,view"

// readSent reads what is on file, with the versions its resources had.
func readSent(ctx context.Context, tx Tx, org, kind, key, lock string) (out Sent, found bool, err error) {
	out = Sent{Organization: org, Kind: kind, Key: key}
	var sid, at, differs int64
	var view string
	found, err = one(ctx, tx, "SELECT "+sentColumns+" FROM sent WHERE part=0 AND org=? AND kind=? AND rec=?"+lock, []any{org, kind, key}, &sid, &at, &differs, &out.Pack, &view)
	if err != nil || !found {
		return out, found, err
	}
	out.At, out.Differs, out.Respelled, out.View = time.UnixMicro(at).UTC(), differs == 1, differs == 2, []byte(view)
	err = each(ctx, tx, "SELECT d.name,r.id,p.ver,p.plain FROM sent_res p JOIN res r ON r.part=0 AND r.rid=p.rid JOIN dict d ON d.kind=? AND d.no=r.type_no WHERE p.part=0 AND p.sid=? ORDER BY d.name,r.id",
		[]any{int64(dictType), sid}, func(r Rows) error {
			var s Kept
			var plain int64
			err := r.Scan(&s.Type, &s.ID, &s.Version, &plain)
			s.Plain = plain == 1
			out.Resources = append(out.Resources, s)
			return err
		})
	return out, true, err
}

// putSent keeps what was sent. Its resources were written, or found unchanged, in this transaction.
func (w *writer) putSent(list []Sent) error {
	for _, s := range list {
		var sid int64
		found, err := one(w.ctx, w.tx, "SELECT sid FROM sent WHERE part=0 AND org=? AND kind=? AND rec=?", []any{s.Organization, s.Kind, s.Key}, &sid)
		if err != nil {
			return err
		}
		if !found {
			sid = w.s.ids.next()
		}
		at := w.now
		if !s.At.IsZero() {
			at = s.At.UnixMicro()
		}
		// Another delivery of a record nobody knew yet, at the same time, conflicts: it is then made again.
		sql := "INSERT INTO sent (part,org,kind,rec,sid,at,differs,pack,view) VALUES (0,?,?,?,?,?,?,?,?)"
		args := []any{s.Organization, s.Kind, s.Key, sid, at, s.state(), s.Pack, string(s.View)}
		if found {
			sql = "UPDATE sent SET at=?,differs=?,pack=?,view=? WHERE part=0 AND sid=? AND org=? AND kind=? AND rec=?"
			args = []any{at, s.state(), s.Pack, string(s.View), sid, s.Organization, s.Kind, s.Key}
		}
		if err := w.tx.Queue(w.ctx, sql, args...); err != nil {
			return err
		}
		if err := w.putSentResources(sid, s.Resources, found); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) putSentResources(sid int64, list []Kept, before bool) error {
	if before {
		if err := w.tx.Queue(w.ctx, "DELETE FROM sent_res WHERE part=0 AND sid=?", sid); err != nil {
			return err
		}
	}
	for _, r := range list {
		h := w.heads[r.Reference()]
		if h == nil || !h.found() {
			return errNotWritten
		}
		if err := w.tx.Queue(w.ctx, "INSERT INTO sent_res (part,sid,rid,ver,plain) VALUES (0,?,?,?,?)", sid, h.rid, r.Version, number(r.Plain)); err != nil {
			return err
		}
	}
	return nil
}

// errNotWritten is a resource of a record that its delivery did not write.
var errNotWritten = errors.New("store: a resource of a record was not written with it")

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// state is the column differs.
func (s Sent) state() int64 {
	switch {
	case s.Differs:
		return 1
	case s.Respelled:
		return 2
	}
	return 0
}

// Sent is what is on file of a record; found is false when nothing is.
func (s *Store) Sent(ctx context.Context, organization, kind, key string) (sent Sent, found bool, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		sent, found, err = readSent(ctx, tx, organization, kind, key, "")
		return err
	})
	return sent, found, err
}

// SentKeys lists records of an organisation by key, those behind after, at most limit. With changed only those of whose
// resources something was changed elsewhere since they were sent, or is in them that was.
func (s *Store) SentKeys(ctx context.Context, organization, kind, after string, changed bool, limit int64) (keys []string, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		var b statement
		b.add("SELECT s.rec FROM sent s WHERE s.part=0 AND s.org=? AND s.kind=? AND s.rec>?", organization, kind, after)
		if changed {
			b.add(" AND (s.differs=1 OR EXISTS (SELECT 1 FROM sent_res p JOIN res r ON r.part=0 AND r.rid=p.rid WHERE p.part=0 AND p.sid=s.sid AND r.ver<>p.ver))")
		}
		b.add(" ORDER BY s.rec")
		b.limit(s.dialect, limit)
		keys = nil
		return each(ctx, tx, b.String(), b.args, func(r Rows) error {
			var key string
			err := r.Scan(&key)
			keys = append(keys, key)
			return err
		})
	})
	return keys, err
}

// SentKey names a record on file.
type SentKey struct{ Organization, Key string }

// SentByOthers lists records of a kind that another version of their pack mapped than the one named, by organisation and key,
// those behind after, at most limit; with the number of all that are left, those listed included.
func (s *Store) SentByOthers(ctx context.Context, kind, pack string, after SentKey, limit int64) (list []SentKey, left int, err error) {
	where, args := "part=0 AND kind=? AND pack<>? AND (org>? OR (org=? AND rec>?))", []any{kind, pack, after.Organization, after.Organization, after.Key}
	err = s.engine.Read(ctx, func(tx Tx) error {
		var n int64
		if _, err := one(ctx, tx, "SELECT COUNT(*) FROM sent WHERE "+where, args, &n); err != nil {
			return err
		}
		left, list = int(n), nil
		var b statement
		b.add("SELECT org,rec FROM sent WHERE "+where+" ORDER BY org,rec", args...)
		b.limit(s.dialect, limit)
		return each(ctx, tx, b.String(), b.args, func(r Rows) error {
			var k SentKey
			err := r.Scan(&k.Organization, &k.Key)
			list = append(list, k)
			return err
		})
	})
	return list, left, err
}
