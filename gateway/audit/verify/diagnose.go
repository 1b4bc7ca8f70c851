package verify

import (
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit/logfile"
)

// maxDiagnosed bounds the memory of a diagnosis; a larger log is told to be wrong, not where.
const maxDiagnosed = 1 << 24

// row is what a diagnosis keeps of a row.
type row struct {
	index int64
	id    string
	hash  tlog.Hash
	line  int
	sound bool
}

// diagnosis finds out which leaf hash belongs at which index, and holds the rows against it.
type diagnosis struct {
	scan    *scan
	size    int64
	rows    []row
	stored  *tree // hashes as the file gives them
	actual  *tree // hashes as the rows give them
	trusted *tree // leaf hashes that lead up to a signed root
}

// diagnose reads the file again and names what is wrong with its rows.
func diagnose(file io.Reader, s *scan) error {
	d := &diagnosis{scan: s, size: s.report.Size}
	if d.size > maxDiagnosed {
		s.report.add(ChangedRange, 0, "", 0, "the rows do not give the signed root; the log is too large to say where")
		return nil
	}
	d.stored, d.actual, d.trusted = newTree(d.size), newTree(d.size), newTree(d.size)
	if err := each(file, nil, d.take); err != nil {
		return err
	}
	d.actual.fill()
	if d.size > 0 {
		d.trust()
	}
	d.compare()
	d.boundUnknown()
	d.trusted.fill()
	for size := range s.roots {
		// Other checkpoints are judged by the signed history, not by damaged rows; zero where it is not known.
		s.roots[size] = tlog.Hash{}
		if size <= d.size {
			if root, ok := d.trusted.over(0, size); ok {
				s.roots[size] = root
			}
		}
	}
	return nil
}

func (d *diagnosis) take(l logfile.Line, number int) {
	switch l.Kind {
	case logfile.KindLeaf:
		hash, sound := rowHash(l)
		d.rows = append(d.rows, row{index: *l.Index, id: l.ID, hash: hash, line: number, sound: sound})
		if *l.Index < d.size {
			d.actual.set(tlog.StoredHashIndex(0, *l.Index), hash)
		}
	case logfile.KindHash:
		d.stored.set(*l.Index, *l.Hash)
	}
}

// trust starts from the latest checkpoint. What the hashes of the file cannot reach from there is tried again from
// the two checkpoints around the change.
func (d *diagnosis) trust() {
	signed := d.scan.signed
	d.descend(0, d.size, signed[len(signed)-1].Root)
	fits, next := d.around()
	for _, c := range []*logfile.Checkpoint{next, fits} {
		if c != nil && c.Size > 0 {
			d.descend(0, c.Size, c.Root)
		}
	}
}

// around returns the largest checkpoint that the rows still fit, and the next one above it.
func (d *diagnosis) around() (fits, next *logfile.Checkpoint) {
	for i := range d.scan.signed {
		c := &d.scan.signed[i]
		if root, ok := d.actual.over(0, c.Size); !ok || root != c.Root {
			return fits, c
		}
		fits = c
	}
	return fits, nil
}

// descend records the leaf hashes below a node whose hash is known to be right. The children are right when, taken
// from the stored hashes or from the rows, they hash to it; where no combination does, nothing below is known.
func (d *diagnosis) descend(lo, hi int64, want tlog.Hash) {
	if hi-lo == 1 {
		d.trusted.set(tlog.StoredHashIndex(0, lo), want)
		return
	}
	k, _ := split(lo, hi)
	if k == hi-lo {
		k /= 2
	}
	mid := lo + k
	for _, left := range d.candidates(lo, mid) {
		for _, right := range d.candidates(mid, hi) {
			if tlog.NodeHash(left, right) == want {
				d.descend(lo, mid, left)
				d.descend(mid, hi, right)
				return
			}
		}
	}
}

// candidates are the hashes proposed for the rows [lo, hi).
func (d *diagnosis) candidates(lo, hi int64) []tlog.Hash {
	var list []tlog.Hash
	if h, ok := d.stored.over(lo, hi); ok {
		list = append(list, h)
	}
	if h, ok := d.actual.over(lo, hi); ok && (len(list) == 0 || list[0] != h) {
		list = append(list, h)
	}
	return list
}

func (d *diagnosis) signedHash(index int64) (tlog.Hash, bool) {
	return d.trusted.at(tlog.StoredHashIndex(0, index))
}

// boundUnknown reports the rows for which no signed hash could be established.
func (d *diagnosis) boundUnknown() {
	first, last := int64(-1), int64(-1)
	for i := range d.size {
		if _, known := d.signedHash(i); !known {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return
	}
	text := fmt.Sprintf("rows and stored hashes were both changed somewhere in rows %d to %d", first, last)
	if fits, next := d.around(); next != nil && next.Size > first {
		var from int64
		if fits != nil {
			from = fits.Size
		}
		text = fmt.Sprintf("rows and stored hashes were both changed: the first change lies in rows %d to %d, between the checkpoints of size %d and %d",
			max(first, from), min(last, next.Size-1), from, next.Size)
		first = max(first, from)
	}
	d.scan.report.add(ChangedRange, first, "", 0, "%s", text)
}
