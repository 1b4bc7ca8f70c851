package store

import (
	"context"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
)

// vouch notes what a write says about which record a Binary belongs to: its own securityContext, or the attachments
// of a document.
func (w *writer) vouch(c Change, rid int64) error {
	if c.Type != "Binary" && c.Type != "DocumentReference" {
		return nil
	}
	if err := w.tx.Queue(w.ctx, "DELETE FROM binary_link WHERE part=0 AND rid=?", rid); err != nil {
		return err
	}
	link := func(bid string, rank int, typ, id string) error {
		return w.tx.Queue(w.ctx, "INSERT INTO binary_link (part,bid,rank,rid,type,id) VALUES (0,?,?,?,?,?) ON CONFLICT (part,bid,rank,rid) DO NOTHING", bid, rank, rid, typ, id)
	}
	if c.Type == "Binary" {
		context := c.Resource.Root.Get("securityContext")
		if context.IsZero() {
			return nil
		}
		// A context that is no record of ours is kept as one nobody may read: it must not fall back to a document.
		ref, _ := fhir.ParseReference(context.Get("reference").Text(), w.s.base)
		return link(c.ID, 0, ref.Type, ref.ID)
	}
	for _, content := range c.Resource.Root.Get("content").List() {
		ref, ok := fhir.ParseReference(strings.TrimSpace(content.Path("attachment", "url").Text()), w.s.base)
		if !ok || ref.Type != "Binary" {
			continue
		}
		if err := link(ref.ID, 1, c.Type, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// maxVouching bounds how many documents may point at one Binary and still let it be read.
const maxVouching = 8

// Attachment is a Binary with the records that vouch for it, as Lookup finds them for the caller. Row is filled
// whether or not the caller may see it: a release asks for a permit on every one of Vouching.
type Attachment struct {
	Row      Row
	Exists   bool
	Vouching []Target
}

// Attachment finds a Binary that is not the caller's own, by what vouches for it: its securityContext, or else all
// documents of its custodian that point at it. Where nothing does, and for an unknown id, the same is asked about a
// record that does not exist.
func (s *Store) Attachment(ctx context.Context, f access.Filter, id string, version int64) (Attachment, error) {
	var out Attachment
	var vouching []fhir.Reference
	custodian := func() string { return s.custodian(out.Row.Segment) }
	err := s.engine.Read(ctx, func(tx Tx) error {
		var err error
		if out.Row, out.Exists, err = s.binary(ctx, tx, id, version); err != nil {
			return err
		}
		vouching, err = s.vouching(ctx, tx, id, s.segmentsOf(custodian()))
		return err
	})
	if err != nil {
		return Attachment{}, err
	}
	for _, ref := range vouching {
		t, err := s.Lookup(ctx, f, ref.Type, ref.ID, 0)
		if err != nil {
			return Attachment{}, err
		}
		// The custodian of the bytes cannot put them under another's decisions, which may be looser.
		if !out.Exists || !t.Exists || t.Row.Deleted || s.custodian(t.Row.Segment) != custodian() {
			t.Visible = false
		}
		out.Vouching = append(out.Vouching, t)
	}
	return out, nil
}

// vouching lists what says it belongs with a Binary, as far as its custodian says so: another's document neither opens
// nor closes it.
func (s *Store) vouching(ctx context.Context, tx Tx, id string, own Int64s) ([]fhir.Reference, error) {
	var out []fhir.Reference
	best := int64(-1)
	err := each(ctx, tx, "SELECT l.rank,l.type,l.id FROM binary_link l JOIN res r ON r.part=0 AND r.rid=l.rid WHERE l.part=0 AND l.bid=? AND r.del=0 AND "+s.dialect.In("r.seg")+" ORDER BY l.rank,l.rid LIMIT ?", []any{id, own, maxVouching + 1}, func(r Rows) error {
		var rank int64
		var ref fhir.Reference
		if err := r.Scan(&rank, &ref.Type, &ref.ID); err != nil {
			return err
		}
		if best < 0 || rank == best {
			best = rank
			out = append(out, ref)
		}
		return nil
	})
	if len(out) == 0 || len(out) > maxVouching {
		out = []fhir.Reference{{}}
	}
	return out, err
}

// segmentsOf lists an organisation's segments; none for no organisation.
func (s *Store) segmentsOf(organization string) Int64s {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := Int64s{}
	for no, segment := range s.segments {
		if organization != "" && segment.Custodian == organization {
			out = append(out, no)
		}
	}
	return out
}

// binary reads a Binary's row whoever asks; only Attachment may, and only a release that has its permits may use it.
func (s *Store) binary(ctx context.Context, tx Tx, id string, version int64) (Row, bool, error) {
	row := Row{Type: "Binary", ID: id}
	var at, op, enc, own int64
	var doc []byte
	found, err := one(ctx, tx, "SELECT r.rid,r.seg,v.seg,v.ver,v.at,v.op,v.enc,v.doc FROM res r JOIN dict d ON d.kind=1 AND d.no=r.type_no AND d.name='Binary' "+
		"JOIN body v ON v.part=0 AND v.rid=r.rid AND v.ver=CASE WHEN CAST(? AS BIGINT)=0 THEN r.ver ELSE CAST(? AS BIGINT) END WHERE r.part=0 AND r.id=? AND r.del=0",
		[]any{version, version, id}, &row.rid, &row.Segment, &own, &row.Version, &at, &op, &enc, &doc)
	if err != nil || !found || Method(op) == Delete {
		return Row{Type: "Binary", ID: id}, false, err
	}
	row.Segment = s.governing(row.Segment, own)
	row.Updated, row.Method = time.UnixMicro(at).UTC(), Method(op)
	row.sealed, err = s.decompress(enc, doc)
	row.Doc = row.sealed.Doc
	return row, true, err
}
