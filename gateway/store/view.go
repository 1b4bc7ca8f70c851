package store

import (
	"context"
	"slices"

	"trellis/auth/access"
)

// view is what grants say of one patient's segments to one organisation and purpose. It is computed from the same
// grants the filter's SQL asks, and holds for one epoch of the patient. Where grants distinguish types or clinical
// periods it is not exact, and the SQL decides row by row.
type view struct {
	epoch    int64
	exact    bool   // no grant in force distinguishes types or periods, and no record of several patients is filed here
	segments Int64s // sorted: a permitted segment's number, a denied one's with a minus
	from, to int64  // the time it holds for: from <= now < to
}

type viewKey struct{ pat, org, purpose int64 }

// maxCachedViews bounds the views kept.
const maxCachedViews = 100_000

// viewOf is the view of a patient at now. Segments others made since the filter are hidden, as in the filter.
func (s *Store) viewOf(ctx context.Context, tx Tx, c compiled, pat, now int64) (view, error) {
	k := viewKey{pat, c.org, c.purpose}
	v, ok := s.views.get(k)
	if !ok || now < v.from || now >= v.to {
		var err error
		if v, err = s.readView(ctx, tx, k, now); err != nil {
			return v, err
		}
		s.views.put(k, v)
	}
	return v, nil
}

// viewAt is the view of a patient at now, read anew when the one at hand is of an earlier epoch than a row just read.
func (s *Store) viewAt(ctx context.Context, tx Tx, c compiled, pat, now, epoch int64) (view, error) {
	v, err := s.viewOf(ctx, tx, c, pat, now)
	if err == nil && v.epoch < epoch {
		s.views.forget(viewKey{pat, c.org, c.purpose})
		v, err = s.viewOf(ctx, tx, c, pat, now)
	}
	return v, err
}

// grantedSegment is a segment with what grants in force say of it.
type grantedSegment struct{ permitted, denied bool }

// readView reads a patient's grants; segmentsFor puts them together with a filter's own and open segments.
func (s *Store) readView(ctx context.Context, tx Tx, k viewKey, now int64) (view, error) {
	v := view{exact: true, from: now, to: forever}
	var also int64
	if _, err := one(ctx, tx, "SELECT epoch,also FROM patient_state WHERE part=0 AND pat=?", []any{k.pat}, &v.epoch, &also); err != nil {
		return v, err
	}
	v.exact = also == 0
	segments := map[int64]*grantedSegment{}
	err := each(ctx, tx, "SELECT seg,type_no,effect,vfrom,vto,dlo,dhi FROM grants WHERE part=0 AND pat=? AND org=? AND purpose=? AND rto=?",
		[]any{k.pat, k.org, k.purpose, int64(forever)}, func(r Rows) error {
			var seg, typeNo, effect, from, to, lo, hi int64
			if err := r.Scan(&seg, &typeNo, &effect, &from, &to, &lo, &hi); err != nil {
				return err
			}
			if now < from {
				v.to = min(v.to, from)
				return nil
			}
			if now >= to {
				return nil
			}
			v.to = min(v.to, to)
			if effect == partEffect { // read by id, which asks the grants themselves
				return nil
			}
			if typeNo != 0 || lo != beginning || hi != forever {
				v.exact = false
			}
			g := segments[seg]
			if g == nil {
				g = &grantedSegment{}
				segments[seg] = g
			}
			if effect == int64(access.Permit) {
				g.permitted = true
			} else {
				g.denied = true
			}
			return nil
		})
	for seg, g := range segments {
		switch {
		case g.denied:
			v.segments = append(v.segments, -seg)
		case g.permitted:
			v.segments = append(v.segments, seg)
		}
	}
	slices.Sort(v.segments)
	return v, err
}

// segmentsFor is the segments of the view's patient a filter lets through: its own, open ones that are not
// denied, and permitted ones that are not denied; of a view that ends at one record, nothing of others.
func (v view) segmentsFor(c compiled, pat int64) Int64s {
	if c.person != 0 && c.person != pat {
		return slices.Clone(c.own)
	}
	out := make(Int64s, 0, len(c.own)+len(c.open)+len(v.segments))
	out = append(out, c.own...)
	for _, seg := range c.open {
		if _, denied := slices.BinarySearch(v.segments, -seg); !denied {
			out = append(out, seg)
		}
	}
	for _, seg := range v.segments {
		if seg > 0 {
			out = append(out, seg)
		}
	}
	return out
}
