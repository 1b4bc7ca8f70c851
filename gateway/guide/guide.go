// Package guide is what Trellis publishes of its own conventions as FHIR: the code systems and value sets of its mapping
// packs, the extensions they write, a profile for each kind of resource that a pack makes, and an ImplementationGuide that
// lists them. It is made from the packs and from extensions.csv, so it cannot say anything else than what is written.
//
// It stores nothing and serves nothing: cmd/trellis puts the resources into the store as the operator's, or into files.
// It is entered through Resources.
package guide

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the list of extensions is data beside this file
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"trellis/fhir"
	"trellis/mapping"
)

// Version is that of the whole guide: it moves when a code, an extension or a profile changes its meaning.
const Version = "1.0.0"

// released is the day of Version.
const released = "2026-11-28"

// idPrefix keeps the guide's resources apart from those that others store.
const idPrefix = "trellis-"

//go:embed extensions.csv
var extensionList []byte

// Resource is one resource of the guide.
type Resource struct {
	Type, ID string
	JSON     []byte
}

// Resources are the guide's resources for these packs, the ImplementationGuide last, and a hash over all of them.
func Resources(packs []*mapping.Pack) ([]Resource, string, error) {
	b := &builder{}
	b.codes(packs)
	if err := b.extensions(packs); err != nil {
		return nil, "", err
	}
	b.profiles(packs)
	b.guide()
	if b.err != nil {
		return nil, "", fmt.Errorf("guide: %w", b.err)
	}
	sum := sha256.New()
	for _, r := range b.out {
		sum.Write(r.JSON)
	}
	return b.out, hex.EncodeToString(sum.Sum(nil)), nil
}

// builder collects resources.
type builder struct {
	out []Resource
	err error
}

func (b *builder) add(typ, name string, body map[string]any) {
	id := idOf(name)
	head := map[string]any{
		"resourceType": typ, "id": id, "url": fhir.LocalBase + "/" + typ + "/" + name, "version": Version, "status": "active",
		"experimental": false, "date": released, "publisher": "Trellis",
	}
	for k, v := range body {
		head[k] = v
	}
	data, err := json.Marshal(head)
	if err != nil {
		b.err = err
		return
	}
	b.out = append(b.out, Resource{typ, id, data})
}

// maxID is how long an id may be in FHIR.
const maxID = 64

// idOf is the id of a resource of the guide: its name, cut short with a digest where an own pack's is too long.
func idOf(name string) string {
	id := idPrefix + name
	if len(id) <= maxID {
		return id
	}
	sum := sha256.Sum256([]byte(name))
	const digits = 12
	return id[:maxID-digits-1] + "-" + hex.EncodeToString(sum[:])[:digits]
}

// computable is a name as FHIR asks for it: letters and digits, beginning with a capital.
func computable(name string) string {
	var out strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '.' }) {
		out.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return "Trellis" + out.String()
}

// title puts a name into words.
func title(name string) string {
	words := strings.ReplaceAll(name, "-", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// Codes are the concepts of the local code systems of packs, by the name of the system.
func Codes(packs []*mapping.Pack) map[string][]mapping.LocalCode {
	out := map[string][]mapping.LocalCode{}
	for _, p := range packs {
		for _, c := range p.LocalCodes() {
			if !slices.ContainsFunc(out[c.System], func(have mapping.LocalCode) bool { return have.Code == c.Code }) {
				out[c.System] = append(out[c.System], c)
			}
		}
	}
	return out
}

func (b *builder) codes(packs []*mapping.Pack) {
	systems := Codes(packs)
	for _, name := range sorted(systems) {
		var concepts []map[string]any
		for _, c := range systems[name] {
			concept := map[string]any{"code": c.Code}
			if c.Display != "" {
				concept["display"] = c.Display
			}
			concepts = append(concepts, concept)
		}
		sort.Slice(concepts, func(i, j int) bool { return concepts[i]["code"].(string) < concepts[j]["code"].(string) })
		b.add("CodeSystem", name, map[string]any{
			"name": computable(name), "title": title(name), "caseSensitive": true, "content": "complete", "count": len(concepts), "concept": concepts,
			"valueSet":    fhir.LocalBase + "/ValueSet/" + name,
			"description": "Codes of the mapping packs for which no standard code was found, or whose standard codes are kept beside them.",
		})
		b.add("ValueSet", name, map[string]any{
			"name": computable(name), "title": title(name), "description": "All codes of the code system of this name.",
			"compose": map[string]any{"include": []any{map[string]any{"system": fhir.LocalBase + "/CodeSystem/" + name}}},
		})
	}
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// extension is a row of extensions.csv: name, title, contexts separated by blanks, value type and description.
type extension struct{ name, title, contexts, value, description string } // value: a type, or parts as name:type

func extensionRows() ([]extension, error) {
	rows, err := csv.NewReader(bytes.NewReader(extensionList)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("guide: extensions.csv: %w", err)
	}
	var out []extension
	for _, r := range rows[1:] {
		out = append(out, extension{r[0], r[1], r[2], r[3], r[4]})
	}
	return out, nil
}

// elements constrain Extension to the value, or to parts written name:type.
func (e extension) elements() []any {
	out := []any{map[string]any{"id": "Extension", "path": "Extension", "short": e.title, "definition": e.description}}
	url := map[string]any{"id": "Extension.url", "path": "Extension.url", "fixedUri": fhir.LocalBase + "/StructureDefinition/" + e.name}
	if !strings.Contains(e.value, ":") {
		return append(out,
			map[string]any{"id": "Extension.extension", "path": "Extension.extension", "max": "0"}, url,
			map[string]any{"id": "Extension.value[x]", "path": "Extension.value[x]", "min": 1, "type": []any{map[string]any{"code": e.value}}})
	}
	out = append(out, map[string]any{"id": "Extension.extension", "path": "Extension.extension",
		"slicing": map[string]any{"rules": "closed", "discriminator": []any{map[string]any{"type": "value", "path": "url"}}}})
	for _, part := range strings.Fields(e.value) {
		name, typ, _ := strings.Cut(part, ":")
		id := "Extension.extension:" + name
		out = append(out,
			map[string]any{"id": id, "path": "Extension.extension", "sliceName": name},
			map[string]any{"id": id + ".url", "path": "Extension.extension.url", "fixedUri": name},
			map[string]any{"id": id + ".value[x]", "path": "Extension.extension.value[x]", "min": 1, "type": []any{map[string]any{"code": typ}}})
	}
	return append(out, url, map[string]any{"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"})
}

// extensions publishes those of the list, and those that a deployment's own packs write, as far as they say.
func (b *builder) extensions(packs []*mapping.Pack) error {
	rows, err := extensionRows()
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, e := range rows {
		listed[e.name] = true
		var contexts []any
		for _, c := range strings.Fields(e.contexts) {
			contexts = append(contexts, map[string]any{"type": "element", "expression": c})
		}
		b.add("StructureDefinition", e.name, map[string]any{
			"name": computable(e.name), "title": e.title, "description": e.description, "fhirVersion": "4.0.1", "kind": "complex-type",
			"abstract": false, "type": "Extension", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension", "derivation": "constraint",
			"context": contexts, "differential": map[string]any{"element": e.elements()},
		})
	}
	for _, p := range packs {
		for _, name := range p.LocalExtensions() {
			if listed[name] {
				continue
			}
			listed[name] = true
			b.add("StructureDefinition", name, map[string]any{
				"name": computable(name), "title": title(name), "description": "An extension of the mapping pack " + p.Name + ".", "fhirVersion": "4.0.1",
				"kind": "complex-type", "abstract": false, "type": "Extension", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension",
				"derivation": "constraint", "context": []any{map[string]any{"type": "element", "expression": "Element"}},
				"differential": map[string]any{"element": []any{
					map[string]any{"id": "Extension", "path": "Extension", "short": title(name)},
					map[string]any{"id": "Extension.url", "path": "Extension.url", "fixedUri": fhir.LocalBase + "/StructureDefinition/" + name}}},
			})
		}
	}
	return nil
}

// profiles publishes one for each kind of resource a pack makes: the profile it claims, with what it can hold marked as
// must-support. They describe; the resources claim the standard profiles alone.
func (b *builder) profiles(packs []*mapping.Pack) {
	for _, p := range packs {
		for _, m := range p.Makes() {
			base := "http://hl7.org/fhir/StructureDefinition/" + m.Resource
			if len(m.Profiles) > 0 {
				base = m.Profiles[0]
			}
			elements := []any{map[string]any{"id": m.Resource, "path": m.Resource}}
			seen := map[string]bool{}
			for _, name := range m.Elements {
				path := m.Resource + "." + choice(m.Resource, strings.TrimPrefix(name, "_"))
				if !seen[path] {
					seen[path] = true
					elements = append(elements, map[string]any{"id": path, "path": path, "mustSupport": true})
				}
			}
			name := p.Name + "-" + m.Slot
			if m.Map != p.Name {
				name = p.Name + "-" + m.Map + "-" + m.Slot
			}
			b.add("StructureDefinition", name, map[string]any{
				"name": computable(name), "title": title(name), "fhirVersion": "4.0.1", "kind": "resource", "abstract": false, "type": m.Resource,
				"baseDefinition": base, "derivation": "constraint", "differential": map[string]any{"element": elements},
				"description": "What the mapping pack " + p.Name + " " + p.Version + " makes as " + m.Slot + ".",
			})
		}
	}
}

// choice is the path name of an element: value[x] for valueQuantity.
func choice(resource, name string) string {
	for _, e := range fhir.ElementsOf(resource) {
		if e.Name == name {
			if e.Choice != "" {
				return e.Choice
			}
		}
	}
	return name
}

func (b *builder) guide() {
	var list []any
	for _, r := range b.out {
		list = append(list, map[string]any{"reference": map[string]any{"reference": r.Type + "/" + r.ID}})
	}
	b.add("ImplementationGuide", "recovery-support", map[string]any{
		"name": "TrellisRecoverySupport", "title": "Recovery support in FHIR", "packageId": "trellis.recovery-support", "fhirVersion": []string{"4.0.1"},
		"description": "The code systems, value sets, extensions and profiles that Trellis uses for the records of recovery organisations, where US Core and Gravity have none.",
		"definition":  map[string]any{"resource": list},
	})
}
