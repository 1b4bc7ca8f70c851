package access

import (
	"slices"
	"strings"

	"trellis/auth/consent"
)

// oblige adds what must travel with, or be done about, a permitted release.
//
//	basis                              notice  scope  redisclosure stamp       besides
//	consent, Part 2                    yes     yes    by class and purpose     2.24 list where through an intermediary
//	passed on under 2.33, Part 2       yes     yes    by class and purpose     the proceedings bar
//	emergency, Part 2                  yes     yes    EMERGENCY_LIMITED        documented by 2.51(c)
//	court order                        yes     yes    WITHIN_THE_ORDER         its elements only
//	QSOA, direct control               -       -      AS_AGREED
//	audit, research                    yes     yes    BACK_TO_SOURCE_ONLY      on premises: look only
//	the patient, a representative      -       -      PATIENT_HELD
//	any other, or not Part 2           -       -      -
//
// Labels stay on whatever goes out.
func (d *deliberation) oblige() {
	if d.out.Effect != Permit {
		d.out.Consents = nil
		return
	}
	if d.out.Basis == "directory" {
		return
	}
	d.add(ObligeLabels, "")
	if d.out.Basis == "audit" && slices.ContainsFunc(d.out.Reasons, func(r Reason) bool { return r.Hit && r.Rule == "D12-audit-on-premises" }) {
		d.add(ObligeView, "")
	}
	if d.out.Basis == "emergency" {
		d.add(ObligeDocument, d.req.Principal.Emergency.ID)
	}
	if d.out.Basis == "court-order" && len(d.elements) > 0 {
		d.add(ObligeElements, strings.Join(d.elements, ","))
	}
	if !d.req.Segment.Part2 {
		return
	}
	if stamp := d.stamp(); stamp != "" {
		if d.out.Basis != "qsoa" && d.out.Basis != "direct-control" && !d.req.Principal.Personal() || d.out.Basis == "consent" {
			d.add(ObligeNotice, NoticeVersion)
			d.add(ObligeScope, "")
		}
		d.add(ObligeRedisclosure, stamp)
	}
	if d.out.Basis == "redisclosure" {
		d.add(ObligeBar, "")
	}
	for _, by := range d.intermediaries {
		d.add(ObligeList, by)
	}
}

func (d *deliberation) add(code, detail string) {
	d.out.Obligations = append(d.out.Obligations, Obligation{code, detail})
}

// stamp is the rule about passing on that a release of Part 2 content carries; "" for use of what is one's own.
func (d *deliberation) stamp() string {
	switch d.out.Basis {
	case "consent", "redisclosure":
		if len(d.intermediaries) > 0 {
			return "LISTED_PARTICIPANTS_WITH_TREATING_RELATION"
		}
		if d.req.Principal.Personal() {
			return "NO_REDISCLOSURE"
		}
		return redisclosure(d.req.Principal.Organization, d.req.Principal.Purpose)
	case "emergency":
		return "EMERGENCY_LIMITED"
	case "court-order":
		return "WITHIN_THE_ORDER"
	case "qsoa", "direct-control":
		return "AS_AGREED"
	case "audit", "research":
		return "BACK_TO_SOURCE_ONLY"
	case "patient-access", "representation":
		return "PATIENT_HELD"
	}
	return ""
}

// redisclosure is the rule stamped on what a class of recipient receives by consent (2.33(b)).
func redisclosure(org Organization, purpose string) string {
	tpo := !slices.Contains(consent.OtherPurposes(), purpose)
	switch org.Class {
	case CoveredEntity, BusinessAssociate, Part2ProgramCE:
		if tpo {
			return "HIPAA_TPO_EXCEPT_PROCEEDINGS"
		}
	case Part2ProgramNonHIPAA:
		return "CONSISTENT_WITH_CONSENT_ONLY"
	case Intermediary:
		return "LISTED_PARTICIPANTS_WITH_TREATING_RELATION"
	case LawfulHolderOther:
		if slices.Contains(consent.PaymentPurposes(), purpose) || slices.Contains(consent.OperationsPurposes(), purpose) {
			return "NECESSARY_CONTRACTORS_ONLY"
		}
	}
	return "NO_REDISCLOSURE"
}
