package release

import (
	"fmt"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/consent"
)

// The two statements of 42 CFR 2.32(a), as amended 2024 (access.NoticeVersion names them). A test pins
// their hashes: a changed letter is a new version.
const (
	StatementShort = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
	StatementLong  = "This record which has been disclosed to you is protected by Federal confidentiality rules (42 CFR part 2). " +
		"These rules prohibit you from using or disclosing this record, or testimony that describes the information contained in this record, " +
		"in any civil, criminal, administrative, or legislative proceedings by any Federal, State, or local authority, against the patient, " +
		"unless authorized by the consent of the patient, except as provided at 42 CFR 2.12(c)(5) or as authorized by a court in accordance with 42 CFR 2.64 or 2.65. " +
		"In addition, the Federal rules prohibit you from making any other use or disclosure of this record unless at least one of the following applies: " +
		"(i) Further use or disclosure is expressly permitted by the written consent of the individual whose information is being disclosed in this record or as otherwise permitted by 42 CFR part 2. " +
		"(ii) You are a covered entity or business associate and have received the record for treatment, payment, or health care operations, or " +
		"(iii) You have received the record from a covered entity or business associate as permitted by 45 CFR part 164, subparts A and E. " +
		"A general authorization for the release of medical or other information is NOT sufficient to meet the required elements of written consent to further use or redisclose the record (see 42 CFR 2.31)."
)

// scope explains a consent in plain words: the "clear explanation of the scope of the consent" that
// 2.32(b) lets travel instead of a copy.
func scope(c consent.Consent, redisclosure string) string {
	var b strings.Builder
	if c.Kind == consent.KindOrder {
		fmt.Fprintf(&b, "Disclosed under a court order (42 CFR %s, %s, %s), Consent/%s version %d", c.Order.Section, c.Order.Court, c.Order.Docket, c.ID, c.Version)
	} else {
		fmt.Fprintf(&b, "Disclosed under the patient's written consent Consent/%s version %d (%s)", c.ID, c.Version, c.Kind)
	}
	if !c.Signed.IsZero() {
		fmt.Fprintf(&b, ", signed %s", c.Signed.Format("2006-01-02"))
	}
	if c.Description != "" {
		fmt.Fprintf(&b, ". It covers: %s", c.Description)
	}
	if len(c.Root.Types) > 0 {
		fmt.Fprintf(&b, ". Record types: %s", strings.Join(c.Root.Types, ", "))
	}
	var to []string
	for _, org := range c.Root.Actors {
		to = append(to, "Organization/"+org)
	}
	to = append(to, c.Root.Persons...)
	for _, by := range c.Root.Through {
		to = append(to, "participants of the intermediary Organization/"+by.Organization)
	}
	for _, class := range c.Root.Classes {
		to = append(to, strings.ReplaceAll(string(class), "-", " "))
	}
	fmt.Fprintf(&b, ". Recipients: %s. Purposes: %s.", strings.Join(to, ", "), strings.Join(c.Root.Purposes, ", "))
	if c.To.IsZero() {
		b.WriteString(" It ends by the event or condition it states, or when revoked.")
	} else {
		fmt.Fprintf(&b, " It ends %s.", c.To.Format("2006-01-02T15:04:05Z"))
	}
	fmt.Fprintf(&b, " Redisclosure rule: %s.", redisclosure)
	return b.String()
}

// carried is what a decision obliges a response to carry.
type carried struct {
	notice   bool
	scopes   []explained
	elements []string // nothing of the record but these
}

// explained is what a release rests on, in words, and the consent or order where there is one, "Consent/id/_history/version".
type explained struct{ text, ref string }

// obligations reads a decision's obligations. An unknown one is an error: what cannot be honoured must
// not be released.
func obligations(d access.Decision, consents []consent.Consent) (carried, error) {
	var c carried
	redisclosure, looks := "", false
	for _, o := range d.Obligations {
		switch o.Code {
		case access.ObligeNotice:
			c.notice = true
		case access.ObligeRedisclosure:
			redisclosure = o.Detail
		case access.ObligeElements:
			c.elements = both(c.elements, strings.Split(o.Detail, ","))
		case access.ObligeView:
			looks = true
		case access.ObligeScope, access.ObligeLabels, access.ObligeList, access.ObligeDocument, access.ObligeBar:
		default:
			return carried{}, fmt.Errorf("release: unknown obligation %q", o.Code)
		}
	}
	if !c.notice {
		return c, nil
	}
	for _, ref := range d.Consents {
		for _, k := range consents {
			if ref == fmt.Sprintf("Consent/%s/_history/%d", k.ID, k.Version) {
				c.scopes = append(c.scopes, explained{scope(k, redisclosure), ref})
			}
		}
	}
	if text := withoutConsent(d, redisclosure, looks); text != "" {
		c.scopes = append(c.scopes, explained{text: text})
	}
	if len(c.scopes) == 0 {
		return carried{}, fmt.Errorf("release: a disclosure without anything to explain it by")
	}
	return c, nil
}

// both lists what two orders let be told; nil stands for all.
func both(a, b []string) []string {
	if a == nil {
		return b
	}
	out := slices.DeleteFunc(slices.Clone(a), func(e string) bool { return !slices.Contains(b, e) })
	if len(out) == 0 {
		return []string{"id"}
	}
	return out
}

// withoutConsent explains a release that rests on no instrument of the patient's; "" for one that does.
func withoutConsent(d access.Decision, redisclosure string, looks bool) string {
	var what string
	switch d.Basis {
	case "emergency":
		what = "in a medical emergency declared under 42 CFR 2.51, declaration " + d.Emergency
	case "audit":
		what = "for audit and evaluation under 42 CFR 2.53"
	case "research":
		what = "for research under 42 CFR 2.52"
	default:
		return ""
	}
	text := "Disclosed without the patient's consent " + what + ". Redisclosure rule: " + redisclosure + "."
	if looks {
		text += " VIEW ONLY: shown to Organization/" + d.Organization + " at " + d.EvaluatedAt.UTC().Format("2006-01-02T15:04:05Z") + "; no copy may be kept or forwarded (2.53(a))."
	}
	return text
}
