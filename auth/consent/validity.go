package consent

// Element is a 2.31 element an instrument lacks.
type Element struct {
	Code    string // stable, e.g. "recipient"
	Section string // paragraph of 42 CFR that requires it
	Text    string
}

// Validate lists the elements of 42 CFR 2.31 the instrument lacks; an instrument with any is no basis
// for a disclosure (2.31(c)). Restrictions and HIPAA authorisations are not held to the Part 2 form.
// The paragraph numbers of (a)(5) to (a)(9) follow secondary sources and are to be confirmed by counsel.
func (c *Consent) Validate() []Element {
	if c.Kind == KindRestriction {
		return nil
	}
	var missing []Element
	need := func(ok bool, code, section, text string) {
		if !ok {
			missing = append(missing, Element{code, section, text})
		}
	}
	known := c.Kind == KindTPO || c.Kind == KindSpecific || c.Kind == KindCounselingNotes || c.Kind == KindProceedings || c.Kind == KindHIPAA
	need(known, "kind", "2.31", "the kind of consent")
	need(c.Patient.Type == "Patient", "patient", "2.31(a)(1)", "the patient's name")
	need(len(c.Disclosers) > 0, "discloser", "2.31(a)(2)", "who may disclose")
	need(c.Description != "" || len(c.Root.Types) > 0 || len(c.Root.Labels) > 0, "description", "2.31(a)(3)", "a specific, meaningful description of the information")
	need(len(c.Root.Actors) > 0 || len(c.Root.Classes) > 0, "recipient", "2.31(a)(4)", "who may receive")
	need(len(c.Root.Purposes) > 0, "purpose", "2.31(a)(5)", "the purpose")
	need(c.Statements["revocation"], "revocation-statement", "2.31(a)(6)", "the right to revoke and how")
	need(c.Expires, "expiry", "2.31(a)(7)", "an expiry date, event or condition")
	need(c.Signature, "signature", "2.31(a)(8)", "the patient's signature")
	need(!c.Signed.IsZero(), "date", "2.31(a)(9)", "the date of signing")
	if c.Kind == KindTPO {
		need(c.Statements["redisclosure"], "redisclosure-statement", "2.31(a)(4)(iii)", "the statement about redisclosure")
		need(c.Statements["refusal"], "refusal-statement", "2.31(a)(10)", "the consequences of refusing to sign")
	}
	if c.Kind == KindCounselingNotes {
		need(notesOnly(c), "separate", "2.31(b)", "a consent for counselling notes may cover nothing else")
	}
	return missing
}

// notesOnly reports whether the instrument names no resource type but those notes are kept as.
func notesOnly(c *Consent) bool {
	for _, t := range c.Root.Types {
		if t != "DocumentReference" && t != "Binary" && t != "Composition" {
			return false
		}
	}
	return true
}
