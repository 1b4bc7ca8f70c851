package profile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"trellis/fhir"
	"trellis/fhir/path"
	"trellis/fhir/terminology"
)

// Finding is one thing to say of a resource. No part of it holds a value of the resource.
type Finding struct {
	Severity   string // error, warning or information
	Code       string // FHIR IssueType
	Expression string // FHIRPath with indexes, as in "Patient.identifier[0].system"
	Profile    string // canonical of the profile that asks for it, with its version
	Rule       string // id of the profile's element, or key of its constraint
	Text       string
}

// Severities of findings.
const (
	severityError       = "error"
	severityWarning     = "warning"
	severityInformation = "information"
)

// Sentence is the finding in words, with the rule it comes from.
func (f Finding) Sentence() string {
	switch {
	case f.Profile == "":
		return f.Text
	case f.Rule == "":
		return f.Text + " (" + f.Profile + ")"
	}
	return f.Text + " (" + f.Rule + " of " + f.Profile + ")"
}

// Bounds of one check.
const (
	maxFindings = 500       // of one severity
	maxSteps    = 2_000_000 // looks at an element by one definition
	maxNesting  = 120       // elements and profiles in each other
	maxText     = 300       // of a text that a profile brings, and of what names a rule
)

// Terms answers for codes. A *terminology.Library does.
type Terms interface {
	// Holds says whether a value set, by its canonical URL, has a code. A code without a system is that of an element of the
	// type code, whose system the value set says.
	Holds(valueSet string, code fhir.Coding) terminology.Answer
}

// Checker checks resources by the profiles of a library. It is safe for concurrent use. Without Terms no code is checked, and
// without Paths no invariant but R4's own; both are said.
type Checker struct {
	Library *Library
	Terms   Terms
	Paths   *path.Evaluator
}

// Check says what there is to say of a resource, and of those it contains or bundles, by the profiles given for the resource
// itself and those that each claims in meta.profile. Findings come in the order of the profiles and of their elements.
// A profile that is not held is a warning, not silence; R4's own types as profiles are taken as checked. ctx bounds the time;
// a check that it ends says so.
func (c *Checker) Check(ctx context.Context, doc fhir.Node, profiles []string) []Finding {
	r := newRun(ctx, c, doc)
	for _, canonical := range profiles {
		r.by(r.top, canonical, "", "the profile asked for")
	}
	r.claimed()
	return r.findings
}

// CheckEach is Check, but of a Bundle the profiles are for the entries of their types.
func (c *Checker) CheckEach(ctx context.Context, doc fhir.Node, profiles []string) []Finding {
	r := newRun(ctx, c, doc)
	for _, canonical := range profiles {
		typ := c.Library.typeOf(canonical)
		if r.top.typ != "Bundle" || typ == "Bundle" || typ == "" {
			r.by(r.top, canonical, "", "the profile asked for")
			continue
		}
		for _, v := range r.top.entries() {
			if v.typ == typ {
				r.by(v, canonical, "", "the profile asked for")
			}
		}
	}
	r.claimed()
	return r.findings
}

func (r *run) claimed() {
	for _, claim := range r.claims() {
		r.by(claim.of, claim.profile, claim.at, "the profile")
	}
}

// by checks a resource by one profile. at is where the profile is named in the document.
func (r *run) by(v item, canonical, at, which string) {
	url, _, _ := strings.Cut(canonical, "|")
	p, err := r.c.Library.Find(canonical)
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		r.add(Finding{severityWarning, "not-supported", at, "", "", which + " cannot be used, and the resource was not checked against it: " + refused.Reason})
	case err != nil && url == base+v.typ:
	case err != nil:
		r.add(Finding{severityWarning, "not-supported", at, "", "", which + " is not known here, and the resource was not checked against it"})
	case !p.about(v):
		r.add(Finding{severityError, "invalid", v.at, p.Canonical(), "", "the profile is for another type of resource"})
	default:
		r.check(v, p.root, p)
	}
}

// add keeps a finding once.
func (r *run) add(f Finding) {
	key := f.Severity + "\x00" + f.Expression + "\x00" + f.Text
	if !strings.Contains(f.Rule, ".") {
		key += "\x00" + f.Rule // several constraints may have one text; an element and its slices say the same once
	}
	if r.kept[f.Severity] > maxFindings || r.said[key] {
		return
	}
	r.said[key] = true
	if r.kept[f.Severity]++; r.kept[f.Severity] > maxFindings {
		if r.kept[f.Severity] == maxFindings+1 {
			r.findings = append(r.findings, Finding{severityWarning, "too-costly", "", "", "", fmt.Sprintf("of the severity %s there is more than the %d listed", f.Severity, maxFindings)})
		}
		return
	}
	f.Profile, f.Rule, f.Text = cut(f.Profile, maxText), cut(f.Rule, maxText), cut(f.Text, 3*maxText)
	r.findings = append(r.findings, f)
}

// about makes a finding of an element's rule.
func (r *run) about(severity, code string, v item, e *element, p *Profile, text string, args ...any) {
	r.add(Finding{severity, code, v.at, p.Canonical(), e.id, fmt.Sprintf(text, args...)})
}

// short cuts a text that a profile brings.
func short(text string) string {
	if len(text) > 8*maxText {
		text = strings.ToValidUTF8(text[:8*maxText], "")
	}
	return cut(strings.Join(strings.Fields(text), " "), maxText)
}

// cut is a text of so many characters at most.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}
