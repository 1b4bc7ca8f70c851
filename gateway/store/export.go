package store

import (
	"context"
	"time"

	"trellis/auth/access"
	"trellis/fhir/search"
)

// Key is the row's key: what Chunk.Keys and StillVisible name it by. It means nothing outside of this database.
func (r *Row) Key() int64 { return r.rid }

// Filed reports whether the row stands in any patient's compartment.
func (r *Row) Filed() bool { return r.pat != 0 }

// SearchBounded is Search for bulk work: a page has at most q.Count rows and no more than about maxBytes of stored
// bodies, whatever is larger alone excepted. A page over it is read again with fewer rows, so memory stays bounded.
func (s *Store) SearchBounded(ctx context.Context, f access.Filter, q *search.Query, after *Position, maxBytes int) (Page, error) {
	var page Page
	now, err := s.now(ctx)
	if err != nil {
		return page, err
	}
	limit := q.Count
	err = s.engine.Search(ctx, func(tx Tx) error {
		p, err := s.plan(ctx, tx, f, q, now)
		if err != nil {
			return err
		}
		if after != nil && len(after.Keys) != len(p.order) {
			return errPosition
		}
		for {
			read := &weighed{Tx: tx, left: maxBytes}
			if limit == 1 {
				read.left = maxBody
			}
			p.tx = read
			if page.Rows, err = p.page(after, limit+1); err != nil || !read.full {
				return err
			}
			limit = max(1, limit/2)
		}
	})
	if err != nil {
		return Page{}, err
	}
	page.cut(limit)
	return page, nil
}

// maxBody is more than any two stored bodies weigh.
const maxBody = 128 << 20

// weighed is a connection whose results end when they weigh too much; full says that one did, and is no whole result.
type weighed struct {
	Tx
	left int
	full bool
}

// Query implements Tx.
func (w *weighed) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	rows, err := w.Tx.Query(ctx, sql, args...)
	return weighedRows{rows, w}, err
}

type weighedRows struct {
	Rows
	w *weighed
}

// Next implements Rows.
func (r weighedRows) Next() bool { return !r.w.full && r.Rows.Next() }

// Scan implements Rows.
func (r weighedRows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	for _, d := range dest {
		if b, ok := d.(*[]byte); ok {
			r.w.left -= len(*b)
		}
	}
	r.w.full = r.w.left < 0
	return err
}

// Deleted lists resources of a type deleted at or after a time that the caller may see, by row key, behind after.
// next is 0 on the last page. They have no body.
func (s *Store) Deleted(ctx context.Context, f access.Filter, typ string, since time.Time, after int64, count int) (rows []Row, next int64, err error) {
	err = s.engine.Search(ctx, func(tx Tx) error {
		c, err := s.compile(ctx, tx, f)
		if err != nil {
			return err
		}
		typeNo, err := s.lookup(ctx, tx, dictType, typ)
		if err != nil {
			return err
		}
		var b statement
		b.add("SELECT r.rid,r.id,r.ver,r.upd,r.seg,r.pat,r.npat,r.lo,r.hi,COALESCE(ps.epoch,0) FROM res r LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=r.pat "+
			"WHERE r.part=0 AND r.type_no=? AND r.del=1 AND r.ver>0 AND r.upd>=? AND r.rid>? AND ", typeNo, since.UnixMicro(), after)
		if err := s.visible(&b, c, typ); err != nil {
			return err
		}
		b.add(" ORDER BY r.rid LIMIT ?", count+1)
		return each(ctx, tx, b.String(), b.args, func(r Rows) error {
			row := Row{Type: typ, Deleted: true, Method: Delete}
			var upd int64
			if err := r.Scan(&row.rid, &row.ID, &row.Version, &upd, &row.Segment, &row.pat, &row.npat, &row.period.Lo, &row.period.Hi, &row.epoch); err != nil {
				return err
			}
			if len(rows) == count {
				next = rows[count-1].rid
				return nil
			}
			row.Updated = time.UnixMicro(upd).UTC()
			rows = append(rows, row)
			return nil
		})
	})
	return rows, next, err
}

// StillVisible tells which of the rows of these keys the caller may see now: what a file made earlier is held to when
// it is fetched.
func (s *Store) StillVisible(ctx context.Context, f access.Filter, keys []int64) (map[int64]bool, error) {
	out := make(map[int64]bool, len(keys))
	err := s.engine.Search(ctx, func(tx Tx) error {
		c, err := s.compile(ctx, tx, f)
		if err != nil {
			return err
		}
		var b statement
		b.add("SELECT r.rid FROM res r WHERE r.part=0 AND "+s.dialect.In("r.rid")+" AND ", Int64s(keys))
		if err := s.visible(&b, c, ""); err != nil {
			return err
		}
		return each(ctx, tx, b.String(), b.args, func(r Rows) error {
			var rid int64
			err := r.Scan(&rid)
			out[rid] = true
			return err
		})
	})
	return out, err
}

// Overtaken tells whether consents or labels of the rows' patients changed since the rows were read: decisions about them
// would be those of then. Of a record of several patients the others' facts are read when it is decided about.
func (s *Store) Overtaken(ctx context.Context, rows []Row) (overtaken bool, err error) {
	epochs := map[int64]int64{}
	var pats Int64s
	for i := range rows {
		pat, epoch := rows[i].pat, rows[i].epoch
		if pat == 0 || epoch == unknownEpoch { // about nobody, or its facts are read when it is decided about
			continue
		}
		known, ok := epochs[pat]
		if ok && known != epoch {
			return true, nil
		}
		if !ok {
			epochs[pat] = epoch
			pats = append(pats, pat)
		}
	}
	if len(pats) == 0 {
		return false, nil
	}
	err = s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT pat,epoch FROM patient_state WHERE part=0 AND "+s.dialect.In("pat"), []any{pats}, func(r Rows) error {
			var pat, epoch int64
			err := r.Scan(&pat, &epoch)
			overtaken = overtaken || epochs[pat] != epoch
			return err
		})
	})
	return overtaken, err
}

// Of tells which of the rows are filed under one of the patients, by their ids.
func (s *Store) Of(ctx context.Context, rows []Row, patients map[string]bool) ([]Row, error) {
	var out []Row
	err := s.engine.Read(ctx, func(tx Tx) error {
		for i := range rows {
			subject, err := s.subject(ctx, tx, &rows[i])
			if err != nil {
				return err
			}
			for _, p := range subject.Patients {
				if patients[p.ID] {
					out = append(out, rows[i])
					break
				}
			}
		}
		return nil
	})
	return out, err
}
