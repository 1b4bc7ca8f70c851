package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"trellis/auth/label"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/bulk"
	"trellis/gateway/store"
)

// maxJobs is how many exports of one client may run at a time.
const maxJobs = 3

// exportSystem serves [base]/$export: all the caller may see.
func (k *call) exportSystem() error { return k.export(bulk.System, nil) }

// exportPatients serves [base]/Patient/$export: what is in the compartments of the patients the caller may see.
func (k *call) exportPatients() error {
	if k.c.Param("type") != "Patient" {
		return fhir.NewProblem(fhir.NotFound, "not-supported", "no such operation on this type")
	}
	return k.export(bulk.Patient, nil)
}

// exportGroup serves [base]/Group/[id]/$export: the compartments of the members of a Group the caller may see. The
// Group is read, decided about and logged as any other.
func (k *call) exportGroup() error {
	if k.c.Param("type") != "Group" {
		return fhir.NewProblem(fhir.NotFound, "not-supported", "no such operation on this type")
	}
	if err := k.mayExport(); err != nil {
		return err
	}
	if err := k.asynchronous(); err != nil {
		return err
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, "Group", k.c.Param("id"), 0)
	if err != nil {
		return err
	}
	released, err := k.s.Gate.Resource(k.ctx, k.req, target)
	if err != nil {
		return err
	}
	root, err := fhir.ParseJSON(released.Body())
	if err != nil {
		return err
	}
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return err
	}
	return k.export(bulk.Group, members(root, k.s.Base, now))
}

// members lists the Patients that are in a Group now.
func members(group fhir.Node, base string, now time.Time) []string {
	out := []string{}
	for _, m := range group.Get("member").List() {
		ref, ok := fhir.ParseReference(m.Path("entity", "reference").Text(), base)
		if !ok || ref.Type != "Patient" || m.Get("inactive").Text() == "true" || slices.Contains(out, ref.ID) {
			continue
		}
		if end := m.Path("period", "end").Text(); end != "" {
			if span, err := search.ParseDate(end); err != nil || span.Hi <= now.UnixMicro() {
				continue // an end nobody can read ends it
			}
		}
		out = append(out, ref.ID)
	}
	return out
}

// asynchronous refuses a kick-off that does not ask for an asynchronous answer: there is no other.
func (k *call) asynchronous() error {
	for _, header := range k.c.Request.Header.Values("Prefer") {
		for _, p := range strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ';' }) {
			if strings.EqualFold(strings.TrimSpace(p), "respond-async") {
				return nil
			}
		}
	}
	return fhir.NewProblem(fhir.Invalid, "invalid", "an export needs the header Prefer: respond-async")
}

// exportable reports whether whole types may be exported: that takes scopes of a client acting for itself, without
// constraints.
func (k *call) exportable(typ string) bool {
	return k.caller.reach.mayAsSystem(typ, smart.Read|smart.Search)
}

// mayExport is G1 for a kick-off.
func (k *call) mayExport() error {
	if slices.ContainsFunc(fhir.Types(), k.exportable) {
		return nil
	}
	return forbidden()
}

// export checks a kick-off and starts its job. among bounds it to these patients; nil does not.
func (k *call) export(level string, among []string) error {
	readable := k.exportable
	if err := k.mayExport(); err != nil {
		return err
	}
	if err := k.asynchronous(); err != nil {
		return err
	}
	given, err := k.exportParameters()
	if err != nil {
		return err
	}
	p := k.caller.principal
	spec := bulk.Spec{Level: level, URL: k.s.Base + strings.TrimPrefix(k.c.Request.URL.RequestURI(), "/fhir"), Query: k.req.Query,
		Organization: p.Organization.ID, Purpose: p.Purpose, Token: k.req.TokenID, Request: k.req.RequestID,
		Since: given.since, Until: given.until, Elements: given.elements, Bounded: among != nil, Patients: among}
	if spec.Types, err = k.exportTypes(level, given, readable); err != nil {
		return err
	}
	if spec.Filters, err = k.exportFilters(given, spec.Types); err != nil {
		return err
	}
	if given.patients != nil {
		for _, id := range given.patients {
			if among != nil && !slices.Contains(among, id) {
				return fhir.NewProblem(fhir.Invalid, "invalid", "a patient parameter names none of the Group's members")
			}
		}
		spec.Bounded, spec.Patients = true, given.patients
	}
	return k.start(spec)
}

// start keeps the job and tells where it is found.
func (k *call) start(spec bulk.Spec) error {
	body, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	job := store.Job{ID: uuid.NewString(), Client: k.caller.principal.Client, Spec: body, Progress: []byte("{}")}
	err = k.s.Store.StartJob(k.ctx, job, maxJobs)
	if errors.Is(err, store.ErrJobs) {
		return k.tooMany(60, "this client has as many exports running as it may; wait for one to end, or delete it")
	}
	if err != nil {
		return err
	}
	select {
	case k.s.Exports <- struct{}{}:
	default: // the worker has been told already, or nobody listens
	}
	k.c.Writer.Header().Set("Content-Location", k.jobURL(job.ID))
	k.c.Writer.Header().Set("Preference-Applied", "respond-async")
	k.c.Status(http.StatusAccepted)
	k.c.Writer.WriteHeaderNow()
	return nil
}

// jobURL is where a job is asked about.
func (k *call) jobURL(id string) string { return strings.TrimSuffix(k.s.Base, "/fhir") + "/bulk/" + id }

// exportTypes is what a job exports. A type the client names and its token does not reach is refused (G1); of those it
// does not name, the token's are exported. Levels below the system are about compartments; entries of the directory
// are added when they are named.
func (k *call) exportTypes(level string, given exportInput, readable func(string) bool) ([]string, error) {
	var out []string
	for _, typ := range given.types {
		if !fhir.KnownType(typ) {
			return nil, fhir.NewProblem(fhir.Invalid, "not-supported", "_type names an unknown resource type")
		}
		if err := k.allowAsSystem(typ, smart.Read|smart.Search); err != nil {
			return nil, err
		}
		if level != bulk.System && !search.InPatientCompartment(typ) && !label.Directory(typ) {
			if k.lenient {
				continue
			}
			return nil, fhir.NewProblem(fhir.Unsupported, "not-supported", "_type: "+typ+" is in no patient's compartment; ask for it at the system level")
		}
		if !slices.Contains(out, typ) {
			out = append(out, typ)
		}
	}
	if given.types == nil {
		for _, typ := range fhir.Types() {
			if readable(typ) && (level == bulk.System || search.InPatientCompartment(typ)) {
				out = append(out, typ)
			}
		}
	}
	return out, nil
}

// exportFilters checks the queries of _typeFilter. What they look at besides their own type needs its scope too.
func (k *call) exportFilters(given exportInput, types []string) (map[string][]string, error) {
	var out map[string][]string
	for _, f := range given.filters {
		typ, query, _ := strings.Cut(f, "?")
		if !slices.Contains(types, typ) {
			return nil, fhir.NewProblem(fhir.Invalid, "invalid", "_typeFilter is about a type that is not exported")
		}
		q, err := bulk.ParseFilter(k.s.Registry, k.s.Base, typ, query)
		if err != nil {
			return nil, err
		}
		for _, typ := range search.Reaches(q.Where) {
			if err := k.allowAsSystem(typ, smart.Search); err != nil {
				return nil, err
			}
		}
		if out == nil {
			out = map[string][]string{}
		}
		out[typ] = append(out[typ], query)
	}
	return out, nil
}
