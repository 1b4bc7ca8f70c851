package profile

import (
	"strings"

	"trellis/fhir"
	"trellis/fhir/terminology"
)

func (c *Checker) holds(valueSet string, code fhir.Coding) terminology.Answer {
	if c.Terms == nil {
		return terminology.Untold
	}
	return c.Terms.Holds(valueSet, code)
}

// codings are the codes an item is of: itself, or those in it.
func codings(v item) []fhir.Coding {
	if v.primitive() {
		if text := v.node.Text(); text != "" {
			return []fhir.Coding{{Code: text}}
		}
		return nil
	}
	list := []fhir.Node{v.node}
	if concept := v.node.Get("coding"); !concept.IsZero() {
		list = concept.List()
	} else if v.node.Get("code").IsZero() {
		return nil
	}
	var out []fhir.Coding
	for _, n := range list {
		if code := n.Get("code").Text(); code != "" {
			out = append(out, fhir.Coding{System: n.Get("system").Text(), Code: code})
		}
	}
	return out
}

// bound checks the codes of an item by a binding (https://hl7.org/fhir/R4/terminologies.html#strength). A code in no system
// that is held can be neither in nor out.
func (r *run) bound(v item, e *element, b binding, p *Profile) {
	switch v.typ {
	case "code", "string", "uri", "Coding", "CodeableConcept", "Quantity", "":
	default:
		return
	}
	if v.node.IsZero() || b.valueSet == "" {
		return
	}
	severity, must := severityWarning, "should, unless no code of it fits,"
	if b.required {
		severity, must = severityError, "must"
	}
	codes := codings(v)
	if len(codes) == 0 {
		if v.typ != "Quantity" && v.typ != "Coding" || b.required && v.typ == "Coding" {
			r.about(severity, "code-invalid", v, e, p, "%s has no code, and %s have one of %s", e.name, must, b.valueSet)
		}
		return
	}
	unknown := false
	for _, c := range codes {
		if c.System == "" && !v.primitive() {
			continue // a code without a system is in no value set
		}
		switch r.c.holds(b.valueSet, c) {
		case terminology.In:
			return
		case terminology.Untold:
			unknown = true
		}
	}
	switch {
	case !unknown:
		r.about(severity, "code-invalid", v, e, p, "%s %s have a code of %s, and has none", e.name, must, b.valueSet)
	case v.typ == "code" && ofR4(b.valueSet):
		// R4's own lists of codes are a matter of its structure
	default:
		r.about(severityInformation, "not-supported", v, e, p, "it could not be checked whether the code is one of %s: the value set or the code system is not held here in full", b.valueSet)
	}
}

// ofR4 reports whether a value set is one that R4 itself publishes.
func ofR4(canonical string) bool {
	name, own := strings.CutPrefix(canonical, "http://hl7.org/fhir/ValueSet/")
	return own && name != ""
}
