package release

import (
	"bytes"
	"context"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/fhir"
	"trellis/gateway/store"
)

// cuts is what the references in a page's rows lead to, as far as it may have to be cut: to records the caller may not
// see, and to Part 2 programs' directory entries, which are public but in somebody's record tell that the person is
// known there.
type cuts struct {
	hidden   map[fhir.Reference]bool
	programs map[fhir.Reference]string // and whose entry it is
}

func (g *Gate) cuts(ctx context.Context, f access.Filter, rows []store.Row) (c cuts, err error) {
	if c.hidden, err = g.Records.Hidden(ctx, f, rows); err != nil {
		return c, err
	}
	c.programs, err = g.Records.Programs(ctx, f, rows)
	return c, err
}

// cutting is which references to cut from one row; nil is none.
type cutting func(fhir.Reference) bool

// from is what to cut from a row: a program is named to who might see a record like this one if the program held it.
func (c cuts) from(g *Gate, p access.Principal, s store.Subject, row *store.Row, now time.Time) cutting {
	seg := g.Records.Segment(row.Segment)
	return func(ref fhir.Reference) bool {
		if c.hidden[ref] {
			return true
		}
		program := c.programs[ref]
		return program != "" && !seg.Directory && seg.Custodian != program && seg.Custodian != p.Organization.ID && !mayKnow(p, s, program, now)
	}
}

// mayKnow is the decision about an ordinary record of a Part 2 program.
func mayKnow(p access.Principal, s store.Subject, program string, now time.Time) bool {
	d, _ := Decide(p, s, label.Segment{Custodian: program, Part2: true, Confidentiality: "R",
		Labels: []fhir.Coding{{System: fhir.SystemActCode, Code: "42CFRPart2"}}}, now)
	return d.Effect == access.Permit
}

func (c cutting) any(refs []fhir.Reference) bool { return c != nil && slices.ContainsFunc(refs, c) }

// sourced reports whether a body says which system it came from.
func sourced(s fhir.Sealed) bool {
	return s.MetaEnd > 0 && s.MetaEnd <= len(s.Doc) && bytes.Contains(s.Doc[:s.MetaEnd], []byte(`source":`))
}

// tellsOfCuts reports whether who receives a redacted copy is told that it is one: a provider that treats under the
// patient's consent has to know that the record says more, and knows of the program already. Nobody else is told.
func tellsOfCuts(p access.Principal, d access.Decision) bool {
	org := p.Organization
	provider := org.Class == access.CoveredEntity && !org.Payer || org.Class == access.Part2ProgramCE
	return d.Basis == "consent" && provider && slices.Contains(consent.TreatmentPurposes(), p.Purpose)
}

// redactedLabel is appended to meta.security of a redacted copy.
const redactedLabel = `{"system":"` + fhir.SystemObservation + `","code":"REDACTED"}`

// withRedacted adds redactedLabel to meta.security.
func withRedacted(labels []byte) []byte {
	if len(labels) < 2 {
		return []byte("[" + redactedLabel + "]")
	}
	return append(append(slices.Clone(labels[:len(labels)-1]), ','), redactedLabel+"]"...)
}
