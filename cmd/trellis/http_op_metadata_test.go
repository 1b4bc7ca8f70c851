package main

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"trellis/fhir/search"
)

// declared is the part of the CapabilityStatement that can be tried.
type declared struct {
	Type                            string
	Interaction                     []struct{ Code string }
	SearchParam                     []declaredParameter
	SearchInclude, SearchRevInclude []string
	Operation                       []struct{ Name, Definition string }
}

type declaredParameter struct{ Name, Type string }

// declaration reads /fhir/metadata.
func (in *installation) declaration() (types []declared, system declared) {
	in.t.Helper()
	var doc struct {
		Rest []struct {
			Resource    []declared
			Interaction []struct{ Code string }
			SearchParam []declaredParameter
			Operation   []struct{ Name, Definition string }
		}
	}
	a := in.send(request{method: "GET", path: "metadata"})
	if err := json.Unmarshal(a.body, &doc); err != nil || len(doc.Rest) != 1 || len(doc.Rest[0].Resource) < 140 {
		in.t.Fatalf("%d %v", a.status, err)
	}
	return doc.Rest[0].Resource, declared{Interaction: doc.Rest[0].Interaction, SearchParam: doc.Rest[0].SearchParam, Operation: doc.Rest[0].Operation}
}

// refused reports whether an answer says that something is not offered, or went wrong here.
func (a reply) refused() bool {
	return a.status == 405 || a.status >= 500 || slices.Contains(a.issueCodes(), "not-supported")
}

// wellFormed is a criterion with a value fit for the parameter's type; "" for a composite, whose halves are not declared.
func wellFormed(p declaredParameter) string {
	switch {
	case p.Name == "_has":
		return "_has:Provenance:target:_id=x"
	case p.Name == "_filter":
		return "_filter=" + url.QueryEscape("_id eq x")
	case p.Name == "_type":
		return "_type=Patient"
	}
	value, ok := map[string]string{"token": "x", "string": "x", "date": "2026-01-01", "reference": "x", "uri": "urn:x", "number": "1", "quantity": "1", "special": "1|2|3|km"}[p.Type]
	if !ok {
		return ""
	}
	return p.Name + "=" + value
}

// TestMetadataDeclaresWhatWorks tries what the CapabilityStatement declares against the server that declares it: some types with
// everything, one thing at a time, and all types with everything at once.
func TestMetadataDeclaresWhatWorks(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		types, system := in.declaration()
		v := visitor{in: in, client: loading("hospital"), organization: "hospital"}
		deep := []string{"Patient", "Observation", "Condition", "Encounter", "Composition", "CodeSystem"}
		for _, d := range types {
			d.tryOperations(t, v)
			d.tryAtOnce(t, v)
			if slices.Contains(deep, d.Type) {
				d.tryInteractions(t, v)
				d.tryParameters(t, v)
				d.tryIncludes(t, v)
				d.tryUndeclared(t, v, types)
			}
		}
		for _, p := range system.SearchParam {
			if a := v.plain("GET", "?_type=Patient&"+wellFormed(p), nil); a.status != 200 {
				t.Errorf("system-wide %s: %d %s", p.Name, a.status, a.body)
			}
		}
		for _, o := range system.Operation {
			if a := v.plain("GET", "$"+o.Name, nil, "Prefer", "respond-async"); a.status != 202 {
				t.Errorf("$%s: %d %s", o.Name, a.status, a.body)
			}
		}
		if len(system.Operation) == 0 {
			t.Error("no operation on the system is declared")
		}
		for _, i := range system.Interaction {
			switch i.Code {
			case "history-system", "search-system":
				path := map[string]string{"history-system": "_history", "search-system": "?_type=Basic"}[i.Code]
				if a := v.plain("GET", path, nil); a.status != 200 {
					t.Errorf("%s: %d", i.Code, a.status)
				}
			case "transaction", "batch":
				if a := v.plain("POST", "", []byte(`{"resourceType":"Bundle","type":"`+i.Code+`"}`)); a.status != 200 {
					t.Errorf("%s: %d %s", i.Code, a.status, a.body)
				}
			default:
				t.Errorf("the statement declares %s, which nothing here tries", i.Code)
			}
		}
	})
}

func (d declared) tryInteractions(t *testing.T, v visitor) {
	t.Helper()
	body := `{"resourceType":"` + d.Type + `","id":"nobody"}`
	tries := map[string]request{
		"read": {method: "GET", path: "/nobody"}, "vread": {method: "GET", path: "/nobody/_history/1"}, "history-instance": {method: "GET", path: "/nobody/_history"},
		"history-type": {method: "GET", path: "/_history"}, "search-type": {method: "GET", path: "?_count=1"},
		"create": {method: "POST", body: []byte(body)}, "update": {method: "PUT", path: "/nobody", body: []byte(body)}, "delete": {method: "DELETE", path: "/nobody"},
		"patch": {method: "PATCH", path: "/nobody", body: []byte(`{"resourceType":"Parameters"}`)},
	}
	for _, i := range d.Interaction {
		r, ok := tries[i.Code]
		if !ok {
			t.Errorf("%s declares %s, which nothing here tries", d.Type, i.Code)
			continue
		}
		if a := v.plain(r.method, d.Type+r.path, r.body); a.refused() || a.status == 403 {
			t.Errorf("%s %s: %d %s", d.Type, i.Code, a.status, a.body)
		}
		delete(tries, i.Code)
	}
	for code := range tries {
		t.Errorf("%s does not declare %s", d.Type, code)
	}
}

func (d declared) tryParameters(t *testing.T, v visitor) {
	t.Helper()
	if len(d.SearchParam) < 12 {
		t.Errorf("%s declares only %d parameters", d.Type, len(d.SearchParam))
	}
	for _, p := range d.SearchParam {
		criterion := wellFormed(p)
		if criterion == "" {
			if a := v.plain("GET", d.Type+"?"+p.Name+"=x$1", nil); p.Type != "composite" || a.refused() {
				t.Errorf("%s %s: %d %s", d.Type, p.Name, a.status, a.body)
			}
			continue
		}
		if a := v.plain("GET", d.Type+"?"+criterion, nil); a.status != 200 {
			t.Errorf("%s?%s: %d %s", d.Type, criterion, a.status, a.body)
		}
	}
}

func (d declared) tryIncludes(t *testing.T, v visitor) {
	t.Helper()
	for name, list := range map[string][]string{"_include": d.SearchInclude, "_revinclude": d.SearchRevInclude} {
		if len(list) == 0 {
			t.Errorf("%s declares no %s", d.Type, name)
		}
		for some := range slices.Chunk(list, 20) {
			if a := v.plain("GET", d.Type+"?_id=nobody&"+url.Values{name: some}.Encode(), nil); a.status != 200 {
				t.Errorf("%s %s=%s: %d %s", d.Type, name, some, a.status, a.body)
			}
		}
	}
}

// tryOperations calls each operation without what it needs, on the type and on an instance: one of them must be an operation.
func (d declared) tryOperations(t *testing.T, v visitor) {
	t.Helper()
	if len(d.Operation) == 0 {
		t.Errorf("%s declares no operation", d.Type)
	}
	for _, o := range d.Operation {
		if !strings.Contains(o.Definition, "/OperationDefinition/") || !strings.HasSuffix(o.Definition, "-"+o.Name) {
			t.Errorf("%s $%s is defined by %s", d.Type, o.Name, o.Definition)
		}
		if !d.operates(v, o.Name) {
			t.Errorf("%s declares $%s, which is not offered", d.Type, o.Name)
		}
	}
}

func (d declared) operates(v visitor, operation string) bool {
	for _, path := range []string{"/$" + operation, "/nobody/$" + operation} {
		for method, body := range map[string]string{"GET": "", "POST": `{"resourceType":"Parameters"}`} {
			if a := v.plain(method, d.Type+path, []byte(body)); !a.refused() && (a.status != 404 || strings.HasPrefix(path, "/nobody")) {
				return true
			}
		}
	}
	return false
}

// tryAtOnce sends every parameter of a type in one search.
func (d declared) tryAtOnce(t *testing.T, v visitor) {
	t.Helper()
	all := "_count=1&_include=" + d.Type + ":*"
	for _, p := range d.SearchParam {
		if c := wellFormed(p); c != "" {
			all += "&" + c
		}
	}
	if a := v.plain("GET", d.Type+"?"+all, nil); a.status != 200 {
		t.Errorf("%s with every parameter: %d %s", d.Type, a.status, a.body)
	}
}

// tryUndeclared asks for what other types declare and this one does not.
func (d declared) tryUndeclared(t *testing.T, v visitor, types []declared) {
	t.Helper()
	mine := map[string]bool{"": true}
	for _, p := range d.SearchParam {
		mine[p.Name] = true
	}
	for _, o := range d.Operation {
		mine["$"+o.Name] = true
	}
	for _, other := range types {
		for _, p := range other.SearchParam {
			if mine[p.Name] {
				continue
			}
			mine[p.Name] = true
			if a := v.plain("GET", d.Type+"?"+p.Name+"=x", nil); a.status != 400 || !a.refused() {
				t.Errorf("%s does not declare %s, yet answers %d", d.Type, p.Name, a.status)
			}
		}
		for _, o := range other.Operation {
			if !mine["$"+o.Name] && d.operates(v, o.Name) {
				t.Errorf("%s does not declare $%s, yet offers it", d.Type, o.Name)
			}
		}
	}
	for _, path := range []string{"?_include=" + d.Type + ":nonsense", "?_revinclude=" + d.Type + ":nonsense", "?_contained=true"} {
		if a := v.plain("GET", d.Type+path, nil); a.status != 400 {
			t.Errorf("%s%s: %d", d.Type, path, a.status)
		}
	}
}

// TestMetadataFollowsTheRegistry: a parameter of one's own is declared once it can be searched by, and not before.
func TestMetadataFollowsTheRegistry(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir()}, "")
	in.load()
	declares := func() bool {
		types, _ := in.declaration()
		for _, d := range types {
			if d.Type == "Basic" {
				return slices.ContainsFunc(d.SearchParam, func(p declaredParameter) bool { return p.Name == "own-code" })
			}
		}
		return false
	}
	own := search.Custom{Base: []string{"Basic"}, Code: "own-code", Kind: search.KindToken, Expression: "Basic.code", URL: "urn:own"}
	for step, want := range []bool{false, false, true, false} {
		var defs []search.Custom
		if own.Ready = step == 2; step == 1 || step == 2 {
			defs = append(defs, own)
		}
		if err := in.gateway.registry.Define(defs); err != nil {
			t.Fatal(err)
		}
		if got := declares(); got != want {
			t.Errorf("step %d: declared %v", step, got)
		}
	}
}
