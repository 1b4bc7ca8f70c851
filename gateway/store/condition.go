package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/fhir/search"
)

// condLocks is how many lock rows there are. Two criteria that share one wait for each other and do no worse.
const condLocks = 1 << 16

// Lock makes every other transaction of this writer with one of the same criteria wait until this one has ended.
// Take all locks at once: they are taken in one order, so that two transactions cannot wait for each other.
func (v *View) Lock(queries ...*search.Query) error {
	keys := make([]int64, 0, len(queries))
	for _, q := range queries {
		sum := sha256.Sum256([]byte(v.owner + "\x00" + q.Type + "\x00" + q.Used.Encode()))
		keys = append(keys, int64(binary.BigEndian.Uint64(sum[:8])%condLocks))
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		_, err := v.w.tx.Exec(v.w.ctx, "INSERT INTO cond_lock (part,key,taken) VALUES (0,?,?) ON CONFLICT (part,key) DO UPDATE SET taken=excluded.taken", key, v.w.now)
		if err != nil {
			return err
		}
	}
	return nil
}

// Match lists the ids of the writer's own records that match, two at most: nobody is told how many there are. What
// other organisations hold, and what the writer's token does not reach, takes no part in it.
func (v *View) Match(q *search.Query) ([]string, error) {
	if v.own == nil {
		if err := v.segments(); err != nil {
			return nil, err
		}
	}
	w := v.w
	tx := unshared{w.tx}
	if w.s.dialect.Name == "postgres" { // a skewed value must be planned for, as in every search
		if _, err := tx.Exec(w.ctx, "SET LOCAL plan_cache_mode='force_custom_plan'"); err != nil {
			return nil, err
		}
	}
	if err := w.flush(); err != nil { // what this transaction wrote counts too
		return nil, err
	}
	whole := *q
	whole.Patient = "" // consent views are for readers
	p, err := w.s.plan(w.ctx, tx, access.Filter{Own: v.own, Limits: v.limits}, &whole, w.now)
	if err != nil {
		return nil, err
	}
	b := &statement{}
	b.add("SELECT r.id")
	if err := p.from(b, nil); err != nil {
		return nil, err
	}
	b.add(" AND "+w.s.dialect.In("r.seg")+" LIMIT 2", v.own)
	var ids []string
	w.s.counts.add("condition")
	err = each(w.ctx, tx, b.String(), b.args, func(r Rows) error {
		var id string
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err == nil && w.s.dialect.Name == "postgres" {
		_, err = tx.Exec(w.ctx, "SET LOCAL plan_cache_mode='force_generic_plan'")
	}
	return ids, err
}

// segments reads the owner's segments from the transaction itself: the process may not know yet what a write in the
// same group commit, or another replica, has made.
func (v *View) segments() error {
	v.own = Int64s{}
	return each(v.w.ctx, v.w.tx, "SELECT seg,body FROM segment", nil, func(r Rows) error {
		var no int64
		var body string
		if err := r.Scan(&no, &body); err != nil {
			return err
		}
		var s label.Segment
		if err := readSegment(body, &s); err != nil {
			return err
		}
		if s.Custodian == v.owner {
			v.own = append(v.own, no)
		}
		return nil
	})
}

func readSegment(body string, into *label.Segment) error {
	return json.Unmarshal([]byte(body), into)
}

// unshared is a write's own transaction: numbers read through it may not be durable yet and are not to be
// remembered for others.
type unshared struct{ Tx }
