package verify

import (
	"golang.org/x/mod/sumdb/tlog"
)

// compare holds each row against the signed leaf hashes and reports what differs, in the order of the file.
func (d *diagnosis) compare() {
	place := map[tlog.Hash]int64{} // where each signed hash belongs
	for i := range d.size {
		if h, ok := d.signedHash(i); ok {
			place[h] = i
		}
	}
	right := make(map[int64]bool, len(d.rows)) // indexes whose row is there, in its place
	present := map[tlog.Hash]bool{}            // hashes that are there, wherever
	for _, r := range d.rows {
		present[r.hash] = true
		if h, ok := d.signedHash(r.index); ok && h == r.hash {
			right[r.index] = true
		}
	}
	c := &comparison{diagnosis: d, place: place, right: right, present: present,
		claimed: map[int64]bool{}, taken: map[int64]bool{}, highest: -1}
	for _, r := range d.rows {
		c.judge(r)
	}
	c.endShift()
	c.missing()
}

// comparison is the walk over the rows.
type comparison struct {
	*diagnosis
	place   map[tlog.Hash]int64
	right   map[int64]bool
	present map[tlog.Hash]bool
	claimed map[int64]bool // indexes that a row of changed or unknown content stands for
	taken   map[int64]bool // indexes whose right row has been met
	highest int64

	// Rows that are all off by the same distance, as after a removal with renumbering, make one finding.
	shiftFirst, shiftLast row
	shiftBy               int64
	shifted               int
}

func (c *comparison) judge(r row) {
	report := c.scan.report
	belongs, signed := c.place[r.hash]
	_, known := c.signedHash(r.index)
	switch {
	case signed && belongs == r.index && c.taken[r.index], signed && belongs != r.index && c.right[belongs]:
		report.add(DuplicatedRow, r.index, r.id, r.line, "row %d (id %s, line %d) is a copy of row %d", r.index, r.id, r.line, belongs)
	case signed && belongs == r.index:
		c.taken[r.index] = true
		if r.index < c.highest {
			report.add(ReorderedRow, r.index, r.id, r.line, "row %d (id %s, line %d) comes after row %d", r.index, r.id, r.line, c.highest)
		}
		if !r.sound {
			report.add(ChangedRow, r.index, r.id, r.line, "row %d (id %s, line %d) is intact, but its commitment or leaf hash was changed", r.index, r.id, r.line)
		}
	case signed:
		c.shift(r, belongs)
	case r.index >= c.size:
		report.add(Unattested, r.index, r.id, r.line, "row %d (id %s, line %d) is covered by no valid checkpoint", r.index, r.id, r.line)
	case known || !r.sound:
		c.claimed[r.index] = true
		report.add(ChangedRow, r.index, r.id, r.line, "row %d (id %s, line %d) is not what was signed", r.index, r.id, r.line)
	case c.claimed[r.index]:
		report.add(DuplicatedRow, r.index, r.id, r.line, "row %d (id %s, line %d) is there a second time", r.index, r.id, r.line)
	default:
		c.claimed[r.index] = true // nothing signed is known for it; boundUnknown reports the range
	}
	c.highest = max(c.highest, r.index)
}

// shift notes a row that belongs elsewhere.
func (c *comparison) shift(r row, belongs int64) {
	by := belongs - r.index
	if c.shifted > 0 && by == c.shiftBy && r.index == c.shiftLast.index+1 {
		c.shiftLast = r
		c.shifted++
		return
	}
	c.endShift()
	c.shiftFirst, c.shiftLast, c.shiftBy, c.shifted = r, r, by, 1
}

func (c *comparison) endShift() {
	f, l := c.shiftFirst, c.shiftLast
	switch {
	case c.shifted == 1:
		c.scan.report.add(ReorderedRow, f.index, f.id, f.line, "row %d (id %s, line %d) belongs at %d", f.index, f.id, f.line, f.index+c.shiftBy)
	case c.shifted > 1:
		c.scan.report.add(ReorderedRow, f.index, f.id, f.line, "rows %d to %d (first id %s, line %d) were renumbered: they belong at %d to %d",
			f.index, l.index, f.id, f.line, f.index+c.shiftBy, l.index+c.shiftBy)
	}
	c.shifted = 0
}

// missing reports signed rows that are nowhere in the file, one finding for each unbroken range.
func (c *comparison) missing() {
	first := int64(-1)
	flush := func(end int64) {
		switch {
		case first < 0:
		case first == end-1:
			c.scan.report.add(RemovedRow, first, "", 0, "row %d was removed", first)
		default:
			c.scan.report.add(RemovedRow, first, "", 0, "rows %d to %d were removed", first, end-1)
		}
		first = -1
	}
	for i := range c.size {
		h, known := c.signedHash(i)
		gone := !c.claimed[i] && (!known || !c.present[h])
		if gone && first < 0 {
			first = i
		}
		if !gone {
			flush(i)
		}
	}
	flush(c.size)
}
