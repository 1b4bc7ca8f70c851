package consent

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"time"

	"trellis/fhir"
	"trellis/fhir/search"
)

// Read turns stored Consent bytes into the model. It never fails: what cannot be understood comes
// back Broken, so that the caller cannot mistake it for "no consent".
func Read(id string, version int, recorded time.Time, doc []byte, base string) Consent {
	sum := sha256.Sum256(doc)
	c := Consent{ID: id, Version: version, SHA256: hex.EncodeToString(sum[:]), Recorded: recorded, Statements: map[string]bool{}}
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
	c.Kind = kind(root)
	c.Patient, _ = fhir.ParseReference(root.Path("patient", "reference").Text(), base)
	for _, org := range root.Get("organization").List() {
		if ref, ok := fhir.ParseReference(org.Get("reference").Text(), base); ok && ref.Type == "Organization" {
			c.Disclosers = append(c.Disclosers, ref.ID)
		}
	}
	c.Signature = !root.Get("sourceAttachment").IsZero() || !root.Get("sourceReference").IsZero() || verified(root)
	c.Signed = c.date(root.Get("dateTime"))
	c.extensions(root)
	c.Root = c.provision(root.Get("provision"), base)
	if typ := root.Path("provision", "type").Text(); typ == "" {
		c.Root.Permit = root.Path("policyRule", "coding", "code").Text() == "OPTIN"
	}
	c.inForce(root)
}

// kind reads the instrument's kind from category; an instrument without one is no basis for anything
// but can still be a refusal.
func kind(root fhir.Node) Kind {
	for _, category := range root.Get("category").List() {
		for _, coding := range category.Get("coding").List() {
			if coding.Get("system").Text() == SystemKind {
				return Kind(coding.Get("code").Text())
			}
		}
	}
	return ""
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

func (c *Consent) extensions(root fhir.Node) {
	for _, ext := range root.Get("extension").List() {
		switch ext.Get("url").Text() {
		case ExtDescription:
			c.Description = ext.Get("valueString").Text()
		case ExtExpirationEvent:
			c.Expires = true
		case ExtStatement:
			c.Statements[nested(ext, "type").Get("valueCode").Text()] = nested(ext, "text").Get("valueString").Text() != ""
		case ExtRevocation:
			c.Revoked = c.date(nested(ext, "receivedAt").Get("valueDateTime"))
			if c.Revoked.IsZero() {
				c.Broken = true
			}
		}
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
		c.To = time.UnixMicro(rng.Hi).UTC()
	}
	if c.Status == "inactive" && c.Revoked.IsZero() {
		c.Revoked = c.Recorded // ended without saying when: at the latest when we were told
	}
	if !c.Revoked.IsZero() && (c.To.IsZero() || c.Revoked.Before(c.To)) {
		c.To = c.Revoked
	}
}

func (c *Consent) provision(n fhir.Node, base string) Provision {
	p := Provision{Permit: n.Get("type").Text() == "permit"}
	for _, actor := range n.Get("actor").List() {
		if ref, ok := fhir.ParseReference(actor.Path("reference", "reference").Text(), base); ok && ref.Type == "Organization" {
			p.Actors = append(p.Actors, ref.ID)
		} else {
			p.Unread.Actors = true // an actor that is no organisation of ours
		}
	}
	for _, ext := range n.Get("extension").List() {
		if ext.Get("url").Text() == ExtRecipientClass {
			p.Classes = append(p.Classes, RecipientClass(ext.Get("valueCode").Text()))
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
	p.Inexpressible = p.Unread != Unread{} || !n.Get("code").IsZero() || !n.Get("data").IsZero()
	if dp := n.Get("dataPeriod"); !dp.IsZero() {
		p.Period = c.dataPeriod(dp)
	}
	for _, child := range n.Get("provision").List() {
		inner := c.provision(child, base)
		inner.Inexpressible = inner.Inexpressible || !child.Get("period").IsZero() // only the root's period is kept
		p.Nested = append(p.Nested, inner)
	}
	return p
}

func (c *Consent) dataPeriod(n fhir.Node) *Period {
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
