package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"trellis/auth/consent"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
)

// validate serves [base]/[type]/$validate and [base]/[type]/[id]/$validate
// (https://hl7.org/fhir/R4/resource-operation-validate.html): R4's structure, which is all that is checked when a resource
// is stored, the profiles that are asked for or claimed, as far as their definitions are stored, and what this gateway would
// make of the resource. The answer is an outcome with status 200 whatever it says.
func (k *call) validate() error {
	typ, id := k.c.Param("type"), k.c.Param("id")
	if !k.may(typ, smart.Create) && !k.may(typ, smart.Update) || k.c.Request.Method == http.MethodGet {
		if err := k.allow(typ, smart.Read); err != nil {
			return err
		}
	}
	in, err := k.inputs("resource", "mode", "profile")
	if err != nil {
		return err
	}
	mode, err := in.text("mode")
	if err != nil {
		return err
	}
	profiles := in.list("profile")
	switch {
	case mode != "" && mode != "create" && mode != "update" && mode != "delete" && mode != "profile":
		return badInput("mode", "must be create, update, delete or profile")
	case mode == "profile" && len(profiles) == 0:
		return badInput("profile", "is required with the mode profile")
	case mode == "delete":
		return k.validateDelete(typ, id)
	case !in.has("resource") && id == "":
		return fhir.NewProblem(fhir.Invalid, "required", "the resource to validate is missing")
	case !in.has("resource"):
		return k.validateStored(typ, id, profiles)
	}
	given, err := in.node("resource")
	if err != nil {
		return err
	}
	issues := k.check(given.Raw(), typ, profiles)
	if own := given.Get("id").Text(); mode == "update" && id != "" && own != id {
		issues = append(issues, fhir.Issue{Severity: "error", Code: "invalid", Text: "the id is not the id in the URL", Expression: typ + ".id"})
	} else if mode == "create" && own != "" {
		issues = append(issues, fhir.Issue{Severity: "information", Code: "informational", Text: "a create gives the resource another id", Expression: typ + ".id"})
	}
	released, err := k.s.Gate.Answer(k.ctx, k.req, verdict(issues))
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// validateStored checks a stored resource as the caller would get it.
func (k *call) validateStored(typ, id string, profiles []string) error {
	if err := k.allow(typ, smart.Read); err != nil {
		return err
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, typ, id, 0)
	if err != nil {
		return err
	}
	view := &release.View{Of: func(released []byte) ([]byte, error) { return verdict(k.check(released, typ, profiles)), nil }}
	released, err := k.s.Gate.ResourceAs(k.ctx, k.req, target, nil, view)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// validateDelete says whether a delete would be done: only a custodian's would.
func (k *call) validateDelete(typ, id string) error {
	if id == "" {
		return fhir.NewProblem(fhir.Invalid, "required", "the mode delete is about an instance")
	}
	if err := k.allow(typ, smart.Read); err != nil {
		return err
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, typ, id, 0)
	if err != nil {
		return err
	}
	own, err := k.s.Store.Own(k.ctx, k.caller.principal.Organization.ID, typ, id)
	if err != nil {
		return err
	}
	var issues []fhir.Issue
	if own == nil {
		issues = append(issues, fhir.Issue{Severity: "error", Code: "business-rule", Text: "only the custodian may delete a resource"})
	}
	released, err := k.s.Gate.ResourceAs(k.ctx, k.req, target, nil, &release.View{Of: func([]byte) ([]byte, error) { return verdict(issues), nil }})
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// maxChecking bounds the time of a check: whoever may store a StructureDefinition may make one that asks for much.
const maxChecking = 5 * time.Second

// check lists what there is to say of a resource. No text repeats a value of it.
func (k *call) check(doc []byte, typ string, profiles []string) []fhir.Issue {
	res, err := k.s.Parser.Parse(doc)
	if err != nil {
		var p *fhir.Problem
		if !errors.As(err, &p) {
			return []fhir.Issue{{Severity: "fatal", Code: "exception", Text: "the resource could not be checked"}}
		}
		return severe(p.Issues)
	}
	var out []fhir.Issue
	if res.Type != typ {
		out = append(out, fhir.Issue{Severity: "error", Code: "invalid", Text: "the resource is not of the type in the URL", Expression: "resourceType"})
	}
	checker, err := k.s.Profiles.Checker(k.ctx)
	if err != nil {
		return append(out, fhir.Issue{Severity: "fatal", Code: "exception", Text: "the resource could not be checked against profiles"})
	}
	ctx, cancel := context.WithTimeout(k.ctx, maxChecking)
	defer cancel()
	for _, f := range checker.Check(ctx, res.Root, profiles) {
		out = append(out, fhir.Issue{Severity: f.Severity, Code: f.Code, Text: f.Sentence(), Expression: f.Expression})
	}
	return append(out, k.consequences(res)...)
}

// consequences is what this gateway would make of the resource.
func (k *call) consequences(res *fhir.Resource) []fhir.Issue {
	var out []fhir.Issue
	if k.s.Labels.Classify(res, k.caller.principal.Organization.Source(), nil).Unclassified {
		out = append(out, fhir.Issue{Severity: "warning", Code: "business-rule", Expression: res.Type,
			Text: "nothing but words, or nothing at all, says what the resource is about: it would be hidden from other organisations"})
	}
	if res.Type == "Consent" {
		c := consent.Read(res.ID, 1, time.Time{}, res.JSON, k.s.Base)
		if c.Broken {
			return append(out, fhir.Issue{Severity: "warning", Code: "business-rule", Text: "the consent cannot be read, and would permit nothing", Expression: res.Type})
		}
		for _, e := range c.Validate() {
			out = append(out, fhir.Issue{Severity: "warning", Code: "business-rule", Text: "lacks " + e.Code + " (" + e.Section + ")", Expression: res.Type})
		}
	}
	return out
}

// severe marks issues as errors.
func severe(issues []fhir.Issue) []fhir.Issue {
	out := make([]fhir.Issue, 0, len(issues))
	for _, i := range issues {
		i.Severity = "error"
		out = append(out, i)
	}
	return out
}

// verdict is the outcome with the issues, or one that says there are none.
func verdict(issues []fhir.Issue) []byte {
	if len(issues) == 0 {
		return fhir.Outcome("information", []fhir.Issue{{Code: "informational", Text: "nothing to object to"}})
	}
	return fhir.Outcome("error", issues)
}
