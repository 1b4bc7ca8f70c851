package store

import (
	"encoding/json"
	"slices"
	"strings"

	"trellis/auth/label"
	"trellis/fhir"
)

// The states of a review.
const (
	ReviewOpen    = "open"
	ReviewKept    = "kept"
	ReviewCleared = "cleared"
)

// labelled is what a head row says of its labels besides the segment.
type labelled struct{ pack, given int64 }

// noteLabels keeps what a write of an identical body says of the labels.
func (w *writer) noteLabels(h *head, l labelled) error {
	if h.pack == l.pack && h.given == l.given {
		return nil
	}
	h.pack, h.given = l.pack, l.given
	return w.tx.Queue(w.ctx, "UPDATE res SET pack=?,given=? WHERE part=0 AND rid=?", l.pack, l.given, h.rid)
}

// label settles the segment of a change: labels an earlier mapping gave stay unless a mapping gives new ones, labels
// of ours that come back with a record are no more than an echo, and words a person has looked at say no more than that
// person said. It changes c.Segment to what was settled.
func (w *writer) label(c *Change, h head) (labelled, error) {
	var out labelled
	if c.LabelsStand {
		return labelled{h.pack, h.given}, nil
	}
	if c.Verdict != nil {
		verdict := *c.Verdict
		if h.found() {
			before, given, err := w.givenTo(h)
			if err != nil {
				return out, err
			}
			now := label.Given{Inbound: fresh(verdict.Given.Inbound, before, given), Mapped: given.Mapped}
			if c.Mapped {
				now.Mapped = verdict.Given.Mapped
			}
			verdict = verdict.Under(now)
		}
		var err error
		if c.Segment, err = w.reviewed(verdict, h); err != nil {
			return out, err
		}
		if out.given, err = w.give(verdict.Given); err != nil {
			return out, err
		}
		if out.pack, err = w.intern(dictPack, verdict.Version); err != nil {
			return out, err
		}
	}
	return out, nil
}

// fresh leaves out of the labels a record came with those the stored one has by our own doing: whoever reads a record and
// sends it back changed does not vouch for them.
func fresh(inbound []fhir.Coding, before label.Segment, given label.Given) []fhir.Coding {
	ours := before.Security()
	var out []fhir.Coding
	for _, l := range inbound {
		if slices.Contains(given.Inbound, l) || !slices.Contains(ours, l) {
			out = append(out, l)
		}
	}
	return out
}

// givenTo is the segment of a record as it stands, and the labels it was given.
func (w *writer) givenTo(h head) (label.Segment, label.Given, error) {
	segment, err := w.segment(h.seg)
	if err != nil {
		return segment, label.Given{}, err
	}
	given, err := w.given(h.given)
	if h.pack == 0 && !segment.Directory { // nobody knows why it has its labels: they are taken as brought
		for _, l := range segment.Security() {
			if l != (fhir.Coding{System: label.SystemLocalLabel, Code: label.CodeUnclassified}) {
				given.Inbound = append(given.Inbound, l)
			}
		}
	}
	return segment, given, err
}

// reviewed is the segment of a verdict with what a person said about the words in question. What nobody has looked at is
// put in the queue.
func (w *writer) reviewed(v label.Verdict, h head) (label.Segment, error) {
	digest := ""
	if v.Review != nil {
		digest = v.Review.Digest
	}
	if h.found() && w.wasUnclassified(h.seg) { // there may be questions about texts that are gone
		_, err := w.tx.Exec(w.ctx, "DELETE FROM label_review WHERE part=0 AND rid=? AND state=? AND digest<>?", h.rid, ReviewOpen, digest)
		if err != nil {
			return label.Segment{}, err
		}
	}
	if v.Review == nil {
		return v.Segment, nil
	}
	var state, outcome string
	if h.found() {
		found, err := one(w.ctx, w.tx, "SELECT state,outcome FROM label_review WHERE part=0 AND rid=? AND digest=?", []any{h.rid, digest}, &state, &outcome)
		if err != nil {
			return label.Segment{}, err
		}
		if found {
			return answered(*v.Review, state, outcome), nil
		}
	}
	err := w.tx.Queue(w.ctx, "INSERT INTO label_review (part,rid,digest,rules,state,at,reviewer,outcome,settled) VALUES (0,?,?,?,?,?,'','',0) ON CONFLICT DO NOTHING",
		h.rid, digest, strings.Join(v.Review.Rules, " "), ReviewOpen, w.now)
	return v.Review.Kept, err
}

// answered is the segment after a review. A record kept under a label of its own is no longer unclassified.
func answered(r label.Review, state, outcome string) label.Segment {
	switch {
	case state == ReviewCleared:
		return r.Clear
	case state == ReviewKept && outcome != "":
		return r.Clear.With([]fhir.Coding{{System: fhir.SystemActCode, Code: outcome}})
	}
	return r.Kept
}

func (w *writer) wasUnclassified(seg int64) bool {
	s, err := w.segment(seg)
	return err != nil || s.Unclassified
}

// give is the number of labels given, 0 for none.
func (w *writer) give(given label.Given) (int64, error) {
	if len(given.Inbound)+len(given.Mapped) == 0 {
		return 0, nil
	}
	sorted := func(list []fhir.Coding) []fhir.Coding {
		list = slices.Clone(list)
		slices.SortFunc(list, func(a, b fhir.Coding) int { return strings.Compare(a.System+a.Code, b.System+b.Code) })
		return slices.Compact(list)
	}
	text, err := json.Marshal(label.Given{Inbound: sorted(given.Inbound), Mapped: sorted(given.Mapped)})
	if err != nil {
		return 0, err
	}
	return w.intern(dictGiven, string(text))
}

// given is the labels of a number.
func (w *writer) given(no int64) (label.Given, error) {
	var out label.Given
	if no == 0 {
		return out, nil
	}
	text := w.s.name(dictGiven, no)
	if text == "" { // made by another replica, or in this transaction
		if _, err := one(w.ctx, w.tx, "SELECT name FROM dict WHERE kind=? AND no=?", []any{dictGiven, no}, &text); err != nil {
			return out, err
		}
	}
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}
