package consent

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"time"

	"trellis/fhir"
	"trellis/fhir/search"
)

// Read turns stored Consent bytes into the model. It never fails: what cannot be understood comes
// back Broken, so that the caller cannot mistake it for "no consent".
func Read(id string, version int, recorded time.Time, doc []byte, base string) Consent {
	sum := sha256.Sum256(doc)
	c := Consent{ID: id, Version: version, SHA256: hex.EncodeToString(sum[:]), Recorded: recorded, Statements: map[string]bool{}, Texts: map[string]string{}}
	root, err := fhir.ParseJSON(doc)
	if err != nil || root.Get("resourceType").Text() != "Consent" {
		c.Broken = true
		return c
	}
	c.read(root, base)
	return c
}

func (c *Consent) read(root fhir.Node, base string) {
	c.Status = root.Get("status").Text()
	c.Patient, _ = named(root.Get("patient"), "Patient", base)
	for _, org := range root.Get("organization").List() {
		c.discloser(org, base)
	}
	c.Signature = !root.Get("sourceAttachment").IsZero() || !root.Get("sourceReference").IsZero() || verified(root)
	c.source(root, base)
	c.Signed = c.date(root.Get("dateTime"))
	c.extensions(root, base)
	c.Root = c.provision(root.Get("provision"), base)
	c.Broken = c.Broken || !root.Get("modifierExtension").IsZero() // it may turn the whole into its contrary
	if typ := root.Path("provision", "type").Text(); typ == "" {
		c.Root.Permit = optedIn(root.Get("policyRule"))
	}
	c.Kind = c.kind(root)
	c.inForce(root)
}

func verified(root fhir.Node) bool {
	for _, v := range root.Get("verification").List() {
		if v.Get("verified").Kind == 't' {
			return true
		}
	}
	return false
}

func (c *Consent) date(n fhir.Node) time.Time {
	if n.IsZero() {
		return time.Time{}
	}
	rng, err := search.ParseDate(n.Text())
	if err != nil {
		c.Broken = true
		return time.Time{}
	}
	return time.UnixMicro(rng.Lo).UTC()
}

func (c *Consent) extensions(root fhir.Node, base string) {
	for _, ext := range root.Get("extension").List() {
		switch ext.Get("url").Text() {
		case ExtDescription:
			c.Description = ext.Get("valueString").Text()
		case ExtExpirationEvent:
			c.Expires = true
			c.Event = ext.Get("valueString").Text()
		case ExtStatement:
			typ, text := nested(ext, "type").Get("valueCode").Text(), nested(ext, "text").Get("valueString").Text()
			c.Statements[typ], c.Texts[typ] = text != "", text
		case ExtRevocation:
			c.Revoked = c.mustDate(nested(ext, "receivedAt").Get("valueDateTime"))
		case ExtExpired:
			c.Ended = c.mustDate(nested(ext, "at").Get("valueDateTime"))
		case ExtDiscloser, ExtController, ExtManager:
			c.discloser(ext.Get("valueReference"), base)
		case ExtDocument:
			c.Source.SHA256 = nested(ext, "sha256").Get("valueString").Text()
		case ExtSigner:
			c.Signers = append(c.Signers, Signer{nested(ext, "capacity").Get("valueCode").Text(), nested(ext, "authority").Get("valueString").Text()})
		case ExtSupersedes:
			if ref, ok := fhir.ParseReference(ext.Path("valueReference", "reference").Text(), base); ok && ref.Type == "Consent" {
				c.Supersedes = append(c.Supersedes, ref.ID)
			}
		case ExtOrder:
			c.Order = Order{Section: nested(ext, "section").Get("valueCode").Text(), Court: nested(ext, "court").Get("valueString").Text(),
				Docket: nested(ext, "docket").Get("valueString").Text(), Subpoena: nested(ext, "subpoena").Get("valueString").Text(),
				Findings: nested(ext, "findings").Get("valueBoolean").Kind == 't', Notes: nested(ext, "notes").Get("valueBoolean").Kind == 't'}
		}
	}
}

// mustDate reads an instant that ends the instrument: one that cannot be read ends everything.
func (c *Consent) mustDate(n fhir.Node) time.Time {
	at := c.date(n)
	c.Broken = c.Broken || at.IsZero()
	return at
}

func (c *Consent) discloser(reference fhir.Node, base string) {
	if ref, ok := named(reference, "Organization", base); ok && ref.Type == "Organization" && !slices.Contains(c.Disclosers, ref.ID) {
		c.Disclosers = append(c.Disclosers, ref.ID)
	}
}

func nested(ext fhir.Node, url string) fhir.Node {
	for _, e := range ext.Get("extension").List() {
		if e.Get("url").Text() == url {
			return e
		}
	}
	return fhir.Node{}
}

// inForce computes the span the instrument is in force: from its signing or its period's start to the
// earliest of the period's end and a revocation.
func (c *Consent) inForce(root fhir.Node) {
	period := root.Path("provision", "period")
	c.From = c.Signed
	if start := c.date(period.Get("start")); start.After(c.From) {
		c.From = start
	}
	if end := period.Get("end"); !end.IsZero() {
		rng, err := search.ParseDate(end.Text())
		if err != nil {
			c.Broken = true
			return
		}
		c.Expires = true
		c.End = time.UnixMicro(rng.Hi).UTC()
		c.To = c.End
	}
	if c.Status == "inactive" && c.Revoked.IsZero() {
		c.Revoked = c.Recorded // ended without saying when: at the latest when we were told
	}
	for _, end := range []time.Time{c.Revoked, c.Ended} {
		if !end.IsZero() && (c.To.IsZero() || end.Before(c.To)) {
			c.To = end
		}
	}
}

func (c *Consent) provision(n fhir.Node, base string) Provision {
	p := Provision{Permit: n.Get("type").Text() == "permit"}
	for _, actor := range n.Get("actor").List() {
		p.actor(actor, base)
	}
	for _, ext := range n.Get("extension").List() {
		switch ext.Get("url").Text() {
		case ExtRecipientClass:
			p.Classes = append(p.Classes, RecipientClass(ext.Get("valueCode").Text()))
		case ExtIntermediary:
			p.Through = append(p.Through, intermediary(ext, base))
		case ExtElement:
			p.Elements = append(p.Elements, ext.Get("valueString").Text())
		}
	}
	for _, purpose := range n.Get("purpose").List() {
		if code := purpose.Get("code").Text(); code != "" {
			p.Purposes = append(p.Purposes, code)
		} else {
			p.Unread.Purposes = true
		}
	}
	for _, action := range n.Get("action").List() {
		if code := action.Path("coding", "code").Text(); code != "" {
			p.Actions = append(p.Actions, code)
		} else {
			p.Unread.Actions = true
		}
	}
	for _, class := range n.Get("class").List() {
		if class.Get("system").Text() == fhir.SystemResourceTypes {
			p.Types = append(p.Types, class.Get("code").Text())
		} else {
			p.Unread.Types = true
		}
	}
	for _, l := range n.Get("securityLabel").List() {
		p.Labels = append(p.Labels, fhir.Coding{System: l.Get("system").Text(), Code: l.Get("code").Text()})
	}
	for _, concept := range n.Get("code").List() {
		for _, coding := range concept.Get("coding").List() {
			p.Codes = append(p.Codes, fhir.Coding{System: coding.Get("system").Text(), Code: coding.Get("code").Text()})
		}
		p.Unread.Codes = p.Unread.Codes || len(concept.Get("coding").List()) == 0 // words alone
	}
	for _, data := range n.Get("data").List() {
		d := Data{Meaning: data.Get("meaning").Text()}
		if ref, ok := fhir.ParseReference(data.Path("reference", "reference").Text(), base); ok {
			d.Reference = ref.Type + "/" + ref.ID
		}
		if d.Reference == "" || d.marks() == nil {
			p.Unread.Data = true
			continue
		}
		p.Data = append(p.Data, d)
	}
	p.Inexpressible = p.Unread != Unread{} || !n.Get("modifierExtension").IsZero()
	if dp := n.Get("dataPeriod"); !dp.IsZero() {
		p.Period = c.period(dp)
	}
	for _, child := range n.Get("provision").List() {
		inner := c.provision(child, base)
		if span := child.Get("period"); !span.IsZero() {
			inner.InForce = c.period(span)
		}
		p.Nested = append(p.Nested, inner)
	}
	return p
}

func intermediary(ext fhir.Node, base string) Intermediary {
	var out Intermediary
	for _, part := range ext.Get("extension").List() {
		ref, ok := named(part.Get("valueReference"), "Organization", base)
		switch part.Get("url").Text() {
		case "intermediary":
			if ok && ref.Type == "Organization" {
				out.Organization = ref.ID
			}
		case "participant":
			if ok && ref.Type == "Organization" {
				out.Named = append(out.Named, ref.ID)
			}
		case "participantClass":
			out.Treating = out.Treating || RecipientClass(part.Get("valueCode").Text()) == ClassTreatingProviders
		}
	}
	return out
}

func (c *Consent) period(n fhir.Node) *Period {
	p := &Period{math.MinInt64, math.MaxInt64}
	if s := n.Get("start"); !s.IsZero() {
		rng, err := search.ParseDate(s.Text())
		if err != nil {
			c.Broken = true
		}
		p.Lo = rng.Lo
	}
	if e := n.Get("end"); !e.IsZero() {
		rng, err := search.ParseDate(e.Text())
		if err != nil {
			c.Broken = true
		}
		p.Hi = rng.Hi
	}
	return p
}
