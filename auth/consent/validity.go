package consent

import "slices"

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
	if c.Kind == KindRestriction || c.Kind == KindSelfPay {
		return nil
	}
	var missing []Element
	need := func(ok bool, code, section, text string) {
		if !ok {
			missing = append(missing, Element{code, section, text})
		}
	}
	if c.Kind == KindOrder {
		c.validateOrder(need)
		return missing
	}
	known := c.Kind == KindTPO || c.Kind == KindSpecific || c.Kind == KindCounselingNotes || c.Kind == KindProceedings || c.Kind == KindHIPAA
	need(known, "kind", "2.31", "the kind of consent")
	need(c.Patient.Type == "Patient", "patient", "2.31(a)(1)", "the patient's name")
	need(len(c.Disclosers) > 0, "discloser", "2.31(a)(2)", "who may disclose")
	need(c.Description != "" || len(c.Root.Types) > 0 || len(c.Root.Labels) > 0, "description", "2.31(a)(3)", "a specific, meaningful description of the information")
	need(len(c.Root.Actors)+len(c.Root.Persons)+len(c.Root.Classes)+len(c.Root.Through) > 0, "recipient", "2.31(a)(4)", "who may receive")
	for _, by := range c.Root.Through {
		need(by.Organization != "" && (len(by.Named) > 0 || by.Treating), "participants", "2.31(a)(4)(ii)", "the intermediary's name, and its participants or their class")
	}
	need(len(c.Root.Purposes) > 0, "purpose", "2.31(a)(5)", "the purpose")
	need(c.Statements["revocation"], "revocation-statement", "2.31(a)(6)", "the right to revoke and how")
	need(c.Expires, "expiry", "2.31(a)(7)", "an expiry date, event or condition")
	need(c.Signature, "signature", "2.31(a)(8)", "the patient's signature")
	need(len(c.Signers) == 0 || slices.ContainsFunc(c.Signers, Signer.mayAgree), "signer", "2.14, 2.15", "the signature of the patient, or of somebody with written authority to sign instead")
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

// mayAgree: the patient signs, a minor too (2.14(a)); for a patient who cannot, whoever has written authority. A parent's
// signature stands beside the minor's, never in its place, but where the director's finding of 2.14(c) is written down.
func (s Signer) mayAgree() bool {
	switch s.Capacity {
	case "patient":
		return true
	case "personal-representative", "guardian", "parent":
		return s.Authority != ""
	}
	return false
}

// validateOrder asks for what subpart E asks of an order and of what compels (2.61, 2.64 to 2.67).
func (c *Consent) validateOrder(need func(ok bool, code, section, text string)) {
	known := slices.Contains([]string{"2.64", "2.65", "2.66", "2.67"}, c.Order.Section)
	need(known, "section", "2.61", "the section the order was made under")
	need(c.Patient.Type == "Patient" || c.Order.Section == "2.66" || c.Order.Section == "2.67", "patient", "2.64", "whose records")
	need(c.Order.Court != "" && c.Order.Docket != "", "court", "2.61", "court and docket")
	need(c.Order.Findings, "findings", "2.64(d)", "the court's findings")
	need(c.Order.Subpoena != "", "subpoena", "2.61", "a subpoena or the like: an order allows and does not compel")
	need(len(c.Disclosers) > 0, "discloser", "2.64(e)", "whose records")
	need(len(c.Root.Actors) > 0, "recipient", "2.64(e)(2)", "who may receive")
	need(len(c.Root.Types)+len(c.Root.Labels)+len(c.Root.Codes)+len(c.Root.Data) > 0, "scope", "2.64(e)(1)", "the parts of the record that are essential")
	need(!c.Signed.IsZero(), "date", "2.61", "the date of the order")
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
