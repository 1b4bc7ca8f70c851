package consent

import (
	"slices"
	"strings"

	"trellis/fhir"
)

// What other forms of Consent say in places of their own. The two extensions are those by which R4 carries R5 elements;
// HL7 FAST names by them who holds the records, and has no Consent.organization.
const (
	ExtController = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent.controller"
	ExtManager    = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Consent.manager"

	// SystemIDs is the identifier system in which an organisation's value is its Organization id here.
	SystemIDs = fhir.LocalBase + "/ids"
	// SystemClass is that of recipient classes, for forms whose recipients are all references.
	SystemClass = fhir.LocalBase + "/CodeSystem/consent-recipient-class"

	systemPolicy        = "http://terminology.hl7.org/CodeSystem/consentpolicycodes"
	systemParticipation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

	policyBase = fhir.LocalBase + "/policy/" // the rules an instrument was written under, by kind and version
	policyPart = "https://www.ecfr.gov/current/title-42/chapter-I/subchapter-A/part-2"
)

// named reads a Reference that is literal, or has an identifier that is an id of ours. A resource named by another
// identifier alone is nobody we know: the caller decides what that means, and never takes it for nobody at all.
func named(n fhir.Node, typ, base string) (fhir.Reference, bool) {
	if literal := n.Get("reference").Text(); literal != "" {
		return fhir.ParseReference(literal, base)
	}
	id := n.Path("identifier", "value").Text()
	if n.Path("identifier", "system").Text() != SystemIDs || !fhir.ValidID(id) {
		return fhir.Reference{}, false
	}
	if stated := n.Get("type").Text(); stated != "" {
		typ = stated
	}
	return fhir.Reference{Type: typ, ID: id}, fhir.KnownType(typ)
}

// actor adds a recipient. One that is no recipient by its role, or nobody we know, leaves the actors unread: a refusal then
// reaches everybody and a permit nobody.
func (p *Provision) actor(n fhir.Node, base string) {
	reference := n.Get("reference")
	if !receives(n.Get("role")) {
		p.Unread.Actors = true
		return
	}
	if id := reference.Get("identifier"); reference.Get("reference").IsZero() && id.Get("system").Text() == SystemClass {
		p.Classes = append(p.Classes, RecipientClass(id.Get("value").Text()))
		return
	}
	switch ref, ok := named(reference, "Organization", base); {
	case ok && ref.Type == "Organization":
		p.Actors = append(p.Actors, ref.ID)
	case ok && ref.Type == "RelatedPerson":
		p.Persons = append(p.Persons, "RelatedPerson/"+ref.ID)
	default:
		p.Unread.Actors = true
	}
}

// receives reports whether an actor's role is that of a recipient. One without a code of v3-ParticipationType is taken for
// one: that is what actors of a rule are.
func receives(role fhir.Node) bool {
	coded := false
	for _, coding := range role.Get("coding").List() {
		if coding.Get("system").Text() != systemParticipation {
			continue
		}
		coded = true
		if code := coding.Get("code").Text(); code == "IRCP" || code == "PRCP" {
			return true
		}
	}
	return !coded
}

// optedIn reports whether the base policy permits: what a root rule without a type says. OPTOUT, and whatever else, refuses.
func optedIn(policyRule fhir.Node) bool {
	in, out := false, false
	for _, coding := range policyRule.Get("coding").List() {
		in = in || coding.Get("code").Text() == "OPTIN"
		out = out || coding.Get("code").Text() == "OPTOUT"
	}
	return in && !out
}

// kind reads the instrument's kind from our own category or policy. Where neither says it, it is what the instrument can be
// at least: one that refuses is a restriction, one under HIPAA or Part 2 what its policy says, and a Part 2 one for all
// treatment, payment and operations only when it is for nothing else and to classes. An instrument of no kind is no basis for
// anything but can still refuse.
func (c *Consent) kind(root fhir.Node) Kind {
	for _, category := range root.Get("category").List() {
		for _, coding := range category.Get("coding").List() {
			if coding.Get("system").Text() == SystemKind {
				return Kind(coding.Get("code").Text())
			}
		}
	}
	if kind, ours := kindOfPolicy(root); ours {
		return kind
	}
	switch {
	case !c.Root.Permit:
		return KindRestriction
	case underPart2(root) && c.forTPO():
		return KindTPO
	case underPart2(root):
		return KindSpecific
	case underHIPAA(root):
		return KindHIPAA
	}
	return ""
}

// kindOfPolicy is the kind in a policy URL of ours, ".../policy/part2-tpo/2024".
func kindOfPolicy(root fhir.Node) (Kind, bool) {
	for _, policy := range root.Get("policy").List() {
		if rest, ours := strings.CutPrefix(policy.Get("uri").Text(), policyBase); ours {
			kind, _, _ := strings.Cut(rest, "/")
			return Kind(kind), true
		}
	}
	return "", false
}

func underPart2(root fhir.Node) bool {
	return ruled(root, fhir.SystemActCode, "42CFRPart2CD") || ruled(root, fhir.SystemActCode, "42CFRPart2") ||
		slices.ContainsFunc(root.Get("policy").List(), func(p fhir.Node) bool { return p.Get("uri").Text() == policyPart })
}

func underHIPAA(root fhir.Node) bool {
	return ruled(root, systemPolicy, "hipaa-auth") || ruled(root, fhir.SystemActCode, "HIPAAAuthCD") ||
		slices.ContainsFunc(root.Get("policy").List(), func(p fhir.Node) bool { return p.Get("uri").Text() == systemPolicy+"#hipaa-auth" })
}

// ruled reports whether policyRule has a code. One without a system counts: the codes are nobody else's.
func ruled(root fhir.Node, system, code string) bool {
	return slices.ContainsFunc(root.Path("policyRule").Get("coding").List(), func(n fhir.Node) bool {
		written := n.Get("system").Text()
		return n.Get("code").Text() == code && (written == system || written == "")
	})
}

// forTPO reports whether the purposes are treatment, payment and operations and nothing else, and the recipients classes.
func (c *Consent) forTPO() bool {
	p := &c.Root
	return len(p.Purposes) > 0 && !slices.ContainsFunc(p.Purposes, func(w string) bool { return !tpoPurpose(w) }) &&
		len(p.Classes) > 0 && len(p.Actors)+len(p.Persons)+len(p.Through) == 0 && !p.Unread.Actors && !p.Unread.Purposes
}

// source reads what the instrument says of its signed artefact.
func (c *Consent) source(root fhir.Node, base string) {
	if ref, ok := named(root.Get("sourceReference"), "DocumentReference", base); ok {
		c.Source.Reference = ref.String()
	}
	attachment := root.Get("sourceAttachment")
	c.Source.Attached = !attachment.IsZero()
	c.Source.Title, c.Source.ContentType = attachment.Get("title").Text(), attachment.Get("contentType").Text()
}
