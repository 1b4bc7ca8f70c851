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

// labelled is what a head row says of its labels.
type labelled struct{ seg, pack, given int64 }

// label settles the segment of a change: labels an earlier mapping gave stay unless a mapping gives new ones, and words
// a person has looked at say no more than that person said. It changes c.Segment to what was settled.
func (w *writer) label(c *Change, h head) (labelled, error) {
	var out labelled
	if c.Verdict != nil {
		verdict := *c.Verdict
		if h.found() && !c.Mapped {
			given, err := w.givenLabels(h.given)
			if err != nil {
				return out, err
			}
			verdict = verdict.With(given)
		}
		var err error
		if c.Segment, err = w.reviewed(verdict, h); err != nil {
			return out, err
		}
		if out.given, err = w.giveLabels(verdict.Given); err != nil {
			return out, err
		}
		if out.pack, err = w.intern(dictPack, verdict.Version); err != nil {
			return out, err
		}
	}
	var err error
	out.seg, err = w.internSegment(c.Segment)
	return out, err
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

// giveLabels is the number of a set of labels, 0 for none.
func (w *writer) giveLabels(given []fhir.Coding) (int64, error) {
	if len(given) == 0 {
		return 0, nil
	}
	given = slices.Clone(given)
	slices.SortFunc(given, func(a, b fhir.Coding) int { return strings.Compare(a.System+a.Code, b.System+b.Code) })
	text, err := json.Marshal(slices.Compact(given))
	if err != nil {
		return 0, err
	}
	return w.intern(dictGiven, string(text))
}

func (w *writer) givenLabels(no int64) ([]fhir.Coding, error) {
	if no == 0 {
		return nil, nil
	}
	text := w.s.name(dictGiven, no)
	if text == "" { // made by another replica, or in this transaction
		if _, err := one(w.ctx, w.tx, "SELECT name FROM dict WHERE kind=? AND no=?", []any{dictGiven, no}, &text); err != nil {
			return nil, err
		}
	}
	var out []fhir.Coding
	err := json.Unmarshal([]byte(text), &out)
	return out, err
}
