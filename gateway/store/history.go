package store

import (
	"context"
	"time"

	"trellis/auth/access"
	"trellis/fhir/search"
)

// Scope is what a history is asked of: one resource, a type, or the whole system (both empty). Since keeps versions
// made then or later, At those that were current at some time in it.
type Scope struct {
	Type, ID  string
	Since, At *search.Range
}

// History lists versions, newest first, at most count and older than before (a sequence number, 0 for
// the newest). Today's labels govern every version. next is 0 on the last page.
func (s *Store) History(ctx context.Context, f access.Filter, scope Scope, before int64, count int) (rows []Row, next int64, err error) {
	err = s.engine.Search(ctx, func(tx Tx) error {
		c, err := s.compile(ctx, tx, f)
		if err != nil {
			return err
		}
		var b statement
		b.add("SELECT r.rid,r.type_no,r.id,v.ver,v.at,v.op,v.seq,r.seg,v.seg,v.pat,v.npat,v.lo,v.hi,COALESCE(ps.epoch,0),v.enc,v.doc FROM body v JOIN res r ON r.part=0 AND r.rid=v.rid LEFT JOIN patient_state ps ON ps.part=0 AND ps.pat=v.pat WHERE v.part=0")
		if before != 0 {
			b.add(" AND v.seq<?", before)
		}
		if scope.Type != "" {
			typeNo, err := s.lookup(ctx, tx, dictType, scope.Type)
			if err != nil {
				return err
			}
			b.add(" AND r.type_no=?", typeNo)
		}
		if scope.ID != "" {
			b.add(" AND r.id=?", scope.ID)
		}
		if scope.Since != nil {
			b.add(" AND v.at>=?", scope.Since.Lo)
		}
		b.add(" AND ")
		if err := s.visible(&b, c, scope.Type); err != nil {
			return err
		}
		b.add(" AND ")
		if err := s.visibleVersion(&b, c, "r", scope.Type); err != nil {
			return err
		}
		if scope.At != nil {
			if err := s.currentAt(&b, c, scope.Type, *scope.At); err != nil {
				return err
			}
		}
		b.add(" ORDER BY v.seq DESC")
		b.limit(s.dialect, int64(count+1))
		s.counts.add("history")
		return each(ctx, tx, b.String(), b.args, func(r Rows) error {
			var row Row
			var typeNo, at, op, seq, enc, own int64
			var doc []byte
			if err := r.Scan(&row.rid, &typeNo, &row.ID, &row.Version, &at, &op, &seq, &row.Segment, &own, &row.pat, &row.npat, &row.period.Lo, &row.period.Hi, &row.epoch, &enc, &doc); err != nil {
				return err
			}
			if len(rows) == count {
				next = rows[count-1].sortKeys[0].(int64)
				return nil
			}
			row.Segment = s.governing(row.Segment, own)
			row.Type, row.Updated, row.Method = s.name(dictType, typeNo), time.UnixMicro(at).UTC(), Method(op)
			row.Deleted, row.sortKeys = row.Method == Delete, []any{seq}
			var err error
			row.sealed, err = s.decompress(enc, doc)
			row.Doc = row.sealed.Doc
			rows = append(rows, row)
			return err
		})
	})
	return rows, next, err
}

// currentAt adds the condition that version v was current at some time in a span, as the caller can know: what
// followed it counts only where the caller may see that too.
func (s *Store) currentAt(b *statement, c compiled, typ string, at search.Range) error {
	b.add(" AND v.at<? AND NOT EXISTS (SELECT 1 FROM body n WHERE n.part=0 AND n.rid=v.rid AND n.ver>v.ver AND n.at<=? AND (n.ver=r.ver OR ((n.npat<2 OR "+
		s.dialect.In("n.seg"), at.Hi, at.Lo, c.own)
	b.add(") AND ")
	s.permittedRow(b, c, "n")
	err := s.within(b, c, "n", typ, false)
	b.add(")))")
	return err
}
