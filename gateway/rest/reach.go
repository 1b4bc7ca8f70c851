package rest

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"trellis/auth/access"
	"trellis/auth/oauth"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
)

// reach is what a token lets its bearer do. It is about the request alone (G1) except for read and search, which
// narrow the bearer's view (G2).
//
// Which level of scope counts depends on who bears the token: system/ is for a client that acts for itself, user/ for
// a person, patient/ for whoever has a launch patient. Writing takes a scope without constraints, and is not for
// patients and those who act for them: there is no custodian to write for. fhirUser adds the one resource that stands
// for the user, to be read, unless it is a Patient: that is a record, which scopes for Patient open as far as they say.
type reach struct {
	scopes smart.Set
	levels []string // that count
	writes bool
	launch string         // Patient id
	user   fhir.Reference // the resource that stands for the user, with fhirUser
	read   *access.Limits // of what read scopes leave; nil: all the bearer may see
	search *access.Limits
	alike  bool   // the same scopes let read and search
	bound  string // who and what a page link is for
}

// newReach reads a token for the principal it makes.
func (s *Server) newReach(ctx context.Context, g oauth.Grant, p access.Principal) reach {
	r := reach{scopes: g.Scopes, launch: g.Context.Patient}
	emergency := slices.Contains(access.EmergencyPurposes(), p.Purpose) // opens records, and is for nothing else
	switch {
	case p.Capacity == "" && p.User == "":
		r.levels, r.writes = []string{smart.System}, !emergency
	case p.Capacity == access.Staff:
		r.levels, r.writes = []string{smart.User}, !emergency
	case p.Personal():
		r.levels = []string{smart.User}
	}
	if r.launch != "" && r.levels != nil {
		r.levels = append(r.levels, smart.Patient)
	}
	if ref, ok := fhir.ParseReference(g.Context.FHIRUser, ""); ok && g.Scopes.Context("openid") && g.Scopes.Context("fhirUser") && ref.Type != "Patient" {
		r.user = ref
	}
	r.read, r.search = s.limits(ctx, &r, p, smart.Read), s.limits(ctx, &r, p, smart.Search)
	r.alike = !slices.ContainsFunc(g.Scopes.Resources(), func(sc smart.Scope) bool {
		return sc.Verbs.Has(smart.Read) != sc.Verbs.Has(smart.Search)
	})
	words := strings.Fields(g.Scopes.String())
	slices.Sort(words)
	r.bound = strings.Join([]string{p.Client, p.Organization.ID, p.Purpose, p.User, string(p.Capacity), p.Patient, r.launch, strings.Join(words, " ")}, "\x00")
	return r
}

// may reports whether the token allows all verbs of need on a type, "*" for all types, on some resources at least.
func (r *reach) may(typ string, need smart.Verb) bool {
	for _, verb := range []smart.Verb{smart.Create, smart.Read, smart.Update, smart.Delete, smart.Search} {
		if need&verb != 0 && !r.mayOne(typ, verb) {
			return false
		}
	}
	return need != 0
}

func (r *reach) mayOne(typ string, verb smart.Verb) bool {
	reads := verb == smart.Read || verb == smart.Search
	if !reads && !r.writes {
		return false
	}
	for _, level := range r.levels {
		if r.scopes.Allows(level, typ, verb) {
			return true
		}
	}
	if !reads {
		return false
	}
	if typ == "*" {
		return slices.ContainsFunc(r.levels, func(level string) bool { return len(r.scopes.Granular(level, "*", verb)) > 0 })
	}
	limits := r.search
	if verb == smart.Read {
		limits = r.read
	}
	return limits != nil && slices.ContainsFunc(limits.Types[typ], func(c access.Clause) bool { return !r.onlyUser(c) })
}

// onlyUser reports whether a clause is that of fhirUser, which opens one resource and no type.
func (r *reach) onlyUser(c access.Clause) bool {
	field, ok := c.Where.(search.Field)
	return ok && field.Name == "_id" && !c.Compartment && len(field.Values) == 1 && field.Values[0].Code == r.user.ID
}

// mayAsSystem is may for what only clients acting for themselves do, over whole types.
func (r *reach) mayAsSystem(typ string, need smart.Verb) bool {
	return slices.Contains(r.levels, smart.System) && r.scopes.Allows(smart.System, typ, need)
}

// confines is the Patient in whose compartment a write has to stay: the launch patient, unless a scope of another level
// allows it anywhere. "" for no such bound.
func (r *reach) confines(typ string, verb smart.Verb) string {
	for _, level := range r.levels {
		if level != smart.Patient && r.scopes.Allows(level, typ, verb) {
			return ""
		}
	}
	return r.launch
}

// limits compiles the scopes that have a verb. nil says that they leave all of the bearer's view: a person's do when they
// open every type, and the scopes of a client acting for itself when they open whole types, which ones being G1's to say.
func (s *Server) limits(ctx context.Context, r *reach, p access.Principal, verb smart.Verb) *access.Limits {
	// A patient's own scopes about the own record have no wall to put up: the patient sees no other.
	walled := func(sc smart.Scope) bool {
		return sc.Level == smart.Patient && (!p.Personal() || p.Patient != r.launch)
	}
	var list []smart.Scope
	narrow, all := false, p.User == "" && p.Capacity == ""
	for _, sc := range r.scopes.Resources() {
		if slices.Contains(r.levels, sc.Level) && sc.Verbs.Has(verb) {
			list = append(list, sc)
			open := !walled(sc) && len(sc.Constraints) == 0
			narrow, all = narrow || !open, all || open && sc.Type == "*"
		}
	}
	if !narrow && all {
		return nil
	}
	out := &access.Limits{Patient: r.launch, Types: map[string][]access.Clause{}, Walled: !slices.ContainsFunc(list, func(sc smart.Scope) bool { return !walled(sc) })}
	for _, sc := range list {
		types := []string{sc.Type}
		if sc.Type == "*" {
			types = fhir.Types()
		}
		for _, typ := range types {
			if clause, ok := s.clause(ctx, typ, sc, walled(sc), r.launch); ok {
				out.Types[typ] = append(out.Types[typ], clause)
			}
		}
	}
	if r.user != (fhir.Reference{}) && verb == smart.Read {
		out.Types[r.user.Type] = append(out.Types[r.user.Type], access.Clause{Where: search.Field{Name: "_id", Values: []search.Value{{Code: r.user.ID}}}})
	}
	return out
}

// clause is what a scope opens of a type; none when it cannot be read for that type.
func (s *Server) clause(ctx context.Context, typ string, sc smart.Scope, walled bool, launch string) (access.Clause, bool) {
	out := access.Clause{Compartment: walled}
	if len(sc.Constraints) > 0 {
		var ok bool
		if out.Where, ok = s.constraint(ctx, typ, sc.Constraints); !ok {
			return access.Clause{}, false
		}
	}
	if typ == "Device" && walled {
		out.Where = s.unassigned(launch, out.Where)
	}
	return out, true
}

// unassigned adds to a condition that a Device is the launch patient's or nobody's: R4 has Device in no compartment.
func (s *Server) unassigned(launch string, where search.Condition) search.Condition {
	patient, ok := s.Registry.Lookup("Device", "patient")
	if !ok {
		return search.Or{}
	}
	assigned := search.Index{Kind: search.KindReference, Params: patient.Reads, Target: "Patient"}
	own := assigned
	own.Values = []search.Value{{RefType: "Patient", RefID: launch}}
	out := search.And{search.Or{search.Not{Condition: assigned}, own}}
	if where != nil {
		out = append(out, where)
	}
	return out
}

// constraint reads the constraints of a granular scope as search parameters of a type. What cannot be read, is about the
// result rather than the resources, or looks into the text of records, opens nothing.
func (s *Server) constraint(ctx context.Context, typ string, list []smart.Constraint) (search.Condition, bool) {
	var out search.And
	for _, c := range list {
		switch c.Param {
		case "_filter", "_list", "_type":
			return nil, false
		}
		q, err := s.Registry.ParseWith(ctx, typ, url.Values{c.Param: {c.Value}}, search.Options{Base: s.Base})
		if err != nil || len(q.Where) == 0 || len(q.Ignored) > 0 {
			return nil, false
		}
		for _, condition := range q.Where {
			if _, ok := condition.(search.Scan); ok {
				return nil, false
			}
			out = append(out, condition)
		}
	}
	return out, true
}
