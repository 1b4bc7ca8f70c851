package profile_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"trellis/conformance/profile"
	"trellis/fhir"
	"trellis/fhir/path"
	"trellis/fhir/terminology"
)

const site = "http://example.org/StructureDefinition/"

// definition is a StructureDefinition with a snapshot of these rows: path[:slice] min..max, then members as JSON.
func definition(t testing.TB, name, version, typ string, rows ...string) *profile.Definition {
	t.Helper()
	return read(t, fmt.Sprintf(`{"resourceType":"StructureDefinition","id":%q,"url":%q,"version":%q,"name":"N","status":"active","kind":"resource","abstract":false,
		"type":%q,"derivation":"constraint","fhirVersion":"4.0.1","snapshot":{"element":[%s]}}`, name+"-"+version, site+name, version, typ, strings.Join(elements(t, rows), ",")))
}

// differential is one with a differential over a base.
func differential(t testing.TB, name, typ, base string, rows ...string) *profile.Definition {
	t.Helper()
	list := elements(t, rows)
	for i := range list {
		list[i] = strings.Replace(list[i], `"min":0,"max":"*",`, "", 1)
	}
	return read(t, fmt.Sprintf(`{"resourceType":"StructureDefinition","id":%q,"url":%q,"version":"1.0.0","name":"N","status":"active","kind":"resource","abstract":false,
		"type":%q,"baseDefinition":%q,"derivation":"constraint","differential":{"element":[%s]}}`, name, site+name, typ, base, strings.Join(list, ",")))
}

func read(t testing.TB, doc string) *profile.Definition {
	t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	return profile.ReadDefinition(r)
}

func elements(t testing.TB, rows []string) []string {
	t.Helper()
	var out []string
	for _, row := range rows {
		head, members, _ := strings.Cut(row, " {")
		id, span, ok := strings.Cut(head, " ")
		lo, hi := "0", "*"
		if ok {
			lo, hi, _ = strings.Cut(span, "..")
		}
		var path []string
		slice := ""
		for _, part := range strings.Split(id, ".") {
			var name string
			name, slice, _ = strings.Cut(part, ":")
			path = append(path, name)
		}
		e := fmt.Sprintf(`{"id":%q,"path":%q,"min":%s,"max":%q,`, id, strings.Join(path, "."), lo, hi)
		if slice != "" {
			e += fmt.Sprintf(`"sliceName":%q,`, slice)
		}
		if members != "" {
			members = "," + strings.TrimSuffix(members, "}")
		}
		out = append(out, e+`"definition":"x"`+members+`}`)
	}
	return out
}

// terms are a value set of two colours, one over a system that is not held, and one for an element of the type code.
func terms(t testing.TB) *terminology.Library {
	t.Helper()
	set := func(name, compose string) *terminology.ValueSet {
		r, err := fhir.ReadTrusted([]byte(`{"resourceType":"ValueSet","id":"` + name + `","url":"http://example.org/ValueSet/` + name + `","status":"active","compose":{"include":[` + compose + `]}}`))
		if err != nil {
			t.Fatal(err)
		}
		return terminology.ReadValueSet(r)
	}
	return terminology.NewLibrary(nil, nil, []*terminology.ValueSet{
		set("colours", `{"system":"urn:colour","concept":[{"code":"red"},{"code":"blue"}]}`),
		set("abroad", `{"system":"urn:abroad","filter":[{"property":"concept","op":"is-a","value":"x"}]}`),
	}, nil)
}

func checker(t testing.TB, list ...*profile.Definition) *profile.Checker {
	return &profile.Checker{Library: profile.NewLibrary(list), Terms: terms(t), Paths: path.NewEvaluator()}
}

func check(t testing.TB, c *profile.Checker, doc string, profiles ...string) []profile.Finding {
	t.Helper()
	r, err := fhir.ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	return c.Check(context.Background(), r.Root, profiles)
}

// short is what a finding comes to: severity, code, place and rule.
func short(list []profile.Finding) []string {
	var out []string
	for _, f := range list {
		out = append(out, strings.Join(strings.Fields(f.Severity[:1]+" "+f.Code+" "+f.Expression+" "+f.Rule), " "))
	}
	return out
}

const (
	slicedByCode = `{"slicing":{"discriminator":[{"type":"value","path":"code"}],"rules":"%s","ordered":%t}}`
	component    = `"component":[%s]`
)

func observation(members string) string {
	return `{"resourceType":"Observation","status":"final","code":{"text":"zqcanary"}` + comma(members) + `}`
}

func comma(members string) string {
	if members == "" {
		return ""
	}
	return "," + members
}

func part(code string) string {
	return `{"code":{"coding":[{"system":"urn:part","code":"` + code + `"}]}}`
}

func partPattern(code string) string {
	return ` {"patternCodeableConcept":{"coding":[{"system":"urn:part","code":"` + code + `"}]}}`
}

// parts are the rows of an Observation whose components have the slices a (required, once) and b.
func parts(rules string, ordered bool) []string {
	return []string{"Observation", `Observation.component ` + fmt.Sprintf(slicedByCode, rules, ordered), "Observation.component.code 1..1 {\"type\":[{\"code\":\"CodeableConcept\"}]}",
		"Observation.component:a 1..1", "Observation.component:a.code 1..1" + partPattern("a"), "Observation.component:b", "Observation.component:b.code 1..1" + partPattern("b")}
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		typ  string
		rows []string
		more []*profile.Definition
		good []string // members or whole resources
		bad  map[string]string
	}{
		"min": {"Patient", []string{"Patient", "Patient.name 1..*", "Patient.name.family 1..1"}, nil,
			[]string{`"name":[{"family":"Zqcanary"}]`, `"name":[{"_family":{"extension":[{"url":"absent","valueCode":"unknown"}]}}]`},
			map[string]string{``: "e required Patient.name Patient.name", `"name":[{"family":"Zqcanary"},{"text":"Zqcanary"}]`: "e required Patient.name[1].family Patient.name.family"}},
		"max": {"Patient", []string{"Patient", "Patient.name 0..1", "Patient.photo 0..0"}, nil, []string{`"name":[{"text":"Zqcanary"}]`},
			map[string]string{`"name":[{"text":"Zqcanary"},{"text":"Zqcanary"}]`: "e structure Patient.name Patient.name", `"photo":[{"title":"Zqcanary"}]`: "e structure Patient.photo Patient.photo"}},
		"fixed": {"Patient", []string{"Patient", `Patient.gender 0..1 {"type":[{"code":"code"}],"fixedCode":"female"}`, `Patient.maritalStatus 0..1 {"fixedCodeableConcept":{"coding":[{"code":"M"}]}}`}, nil,
			[]string{`"gender":"female"`, ``, `"maritalStatus":{"coding":[{"code":"M"}]}`},
			map[string]string{`"gender":"male"`: "e value Patient.gender Patient.gender", `"maritalStatus":{"coding":[{"code":"M"}],"text":"Zqcanary"}`: "e value Patient.maritalStatus Patient.maritalStatus"}},
		"pattern": {"Patient", []string{"Patient", `Patient.maritalStatus 0..1 {"patternCodeableConcept":{"coding":[{"system":"urn:m","code":"M"}]}}`}, nil,
			[]string{`"maritalStatus":{"coding":[{"code":"zqcanary"},{"system":"urn:m","code":"M","display":"Zqcanary"}],"text":"Zqcanary"}`},
			map[string]string{`"maritalStatus":{"coding":[{"system":"urn:m","code":"zqcanary"}]}`: "e value Patient.maritalStatus Patient.maritalStatus"}},
		"choice": {"Observation", []string{"Observation", `Observation.value[x] 0..1 {"type":[{"code":"Quantity"},{"code":"string"}]}`}, nil,
			[]string{`"valueString":"zqcanary"`, `"valueQuantity":{"value":1}`, ``},
			map[string]string{`"valueBoolean":true`: "e structure Observation.value Observation.value[x]"}},
		"choice narrowed by its short name": {"Observation", []string{"Observation", `Observation.value[x] 1..1`, `Observation.value[x]:valueQuantity 1..1 {"type":[{"code":"Quantity"}]}`,
			`Observation.value[x]:valueQuantity.unit 1..1`}, nil, []string{`"valueQuantity":{"value":1,"unit":"zqcanary"}`},
			map[string]string{`"valueQuantity":{"value":1}`: "e required Observation.value.unit Observation.value[x]:valueQuantity.unit",
				`"valueString":"zqcanary"`: "e required Observation.value Observation.value[x]:valueQuantity"}},
		"length": {"Patient", []string{"Patient", "Patient.name", `Patient.name.text 0..1 {"maxLength":8}`}, nil, []string{`"name":[{"text":"Zqcanaré"}]`},
			map[string]string{`"name":[{"text":"Zqcanary2"}]`: "e too-long Patient.name[0].text Patient.name.text"}},
		"least and most": {"Observation", []string{"Observation", `Observation.value[x] 0..1 {"type":[{"code":"integer"},{"code":"Quantity"},{"code":"dateTime"}],"minValueInteger":3,"maxValueInteger":5}`}, nil,
			[]string{`"valueInteger":3`, `"valueInteger":5`}, map[string]string{`"valueInteger":2`: "e value Observation.value Observation.value[x]", `"valueInteger":6`: "e value Observation.value Observation.value[x]",
				`"valueDateTime":"2020"`: "i not-supported Observation.value Observation.value[x]; i not-supported Observation.value Observation.value[x]"}},
		"latest date": {"Patient", []string{"Patient", `Patient.birthDate 0..1 {"maxValueDate":"2000-06-30"}`}, nil, []string{`"birthDate":"2000-06-30"`, `"birthDate":"1999"`},
			map[string]string{`"birthDate":"2000-07-01"`: "e value Patient.birthDate Patient.birthDate", `"birthDate":"2000-06"`: "i not-supported Patient.birthDate Patient.birthDate", `"birthDate":"2001"`: "e value Patient.birthDate Patient.birthDate"}},
		"earliest time": {"Observation", []string{"Observation", `Observation.value[x] 0..1 {"type":[{"code":"dateTime"}],"minValueDateTime":"2020-01-01T09:00:00-05:00"}`}, nil,
			[]string{`"valueDateTime":"2020-01-01T14:00:00Z"`, `"valueDateTime":"2020-01-01T09:00:00.5-05:00"`, `"valueDateTime":"2020-01-01T08:30:00-06:00"`, `"valueDateTime":"2020-01-02"`},
			map[string]string{`"valueDateTime":"2020-01-01T10:00:00+05:00"`: "e value Observation.value Observation.value[x]", `"valueDateTime":"2020-01-01"`: "i not-supported Observation.value Observation.value[x]"}},
		"quantity of a unit": {"Observation", []string{"Observation", `Observation.value[x] 0..1 {"type":[{"code":"Quantity"}],"maxValueQuantity":{"value":10,"system":"urn:u","code":"kg"}}`}, nil,
			[]string{`"valueQuantity":{"value":10.0,"system":"urn:u","code":"kg"}`}, map[string]string{`"valueQuantity":{"value":10.1,"system":"urn:u","code":"kg"}`: "e value Observation.value Observation.value[x]",
				`"valueQuantity":{"value":1,"system":"urn:u","code":"lb"}`: "i not-supported Observation.value Observation.value[x]"}},
		"required binding": {"Patient", []string{"Patient", `Patient.maritalStatus 0..1 {"type":[{"code":"CodeableConcept"}],"binding":{"strength":"required","valueSet":"http://example.org/ValueSet/colours"}}`}, nil,
			[]string{`"maritalStatus":{"coding":[{"system":"urn:zqcanary","code":"zq"},{"system":"urn:colour","code":"red"}]}`},
			map[string]string{`"maritalStatus":{"coding":[{"system":"urn:colour","code":"zqcanary"}]}`: "e code-invalid Patient.maritalStatus Patient.maritalStatus",
				`"maritalStatus":{"text":"Zqcanary"}`:                  "e code-invalid Patient.maritalStatus Patient.maritalStatus",
				`"maritalStatus":{"coding":[{"code":"red"}]}`:          "e code-invalid Patient.maritalStatus Patient.maritalStatus",
				`"maritalStatus":{"coding":[{"display":"Zqcanary"}]}`:  "e code-invalid Patient.maritalStatus Patient.maritalStatus",
				`"maritalStatus":{"coding":[{"system":"urn:colour"}]}`: "e code-invalid Patient.maritalStatus Patient.maritalStatus"}},
		"extensible binding": {"Patient", []string{"Patient", `Patient.maritalStatus 0..1 {"type":[{"code":"CodeableConcept"}],"binding":{"strength":"extensible","valueSet":"http://example.org/ValueSet/colours",
			"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet","valueCanonical":"http://example.org/ValueSet/abroad"}]}}`}, nil, nil,
			map[string]string{`"maritalStatus":{"coding":[{"system":"urn:other","code":"zqcanary"}]}`: "w code-invalid Patient.maritalStatus Patient.maritalStatus; e code-invalid Patient.maritalStatus Patient.maritalStatus",
				`"maritalStatus":{"coding":[{"system":"urn:abroad","code":"zqcanary"}]}`: "w code-invalid Patient.maritalStatus Patient.maritalStatus; i not-supported Patient.maritalStatus Patient.maritalStatus"}},
		"binding that is not held": {"Patient", []string{"Patient", `Patient.maritalStatus 0..1 {"type":[{"code":"CodeableConcept"}],"binding":{"strength":"required","valueSet":"http://example.org/ValueSet/none"}}`}, nil, nil,
			map[string]string{`"maritalStatus":{"coding":[{"system":"urn:x","code":"zqcanary"}]}`: "i not-supported Patient.maritalStatus Patient.maritalStatus"}},
		"binding of a code": {"Patient", []string{"Patient", `Patient.language 0..1 {"type":[{"code":"code"}],"binding":{"strength":"required","valueSet":"http://example.org/ValueSet/colours"}}`}, nil,
			[]string{`"language":"red"`}, map[string]string{`"language":"zqcanary"`: "e code-invalid Patient.language Patient.language"}},
		"binding of a quantity": {"Observation", []string{"Observation", `Observation.value[x] 0..1 {"type":[{"code":"Quantity"}],"binding":{"strength":"required","valueSet":"http://example.org/ValueSet/colours"}}`}, nil,
			[]string{`"valueQuantity":{"value":1,"system":"urn:colour","code":"blue"}`}, map[string]string{`"valueQuantity":{"value":1,"system":"urn:colour","code":"zqcanary"}`: "e code-invalid Observation.value Observation.value[x]"}},
		"reference": {"Observation", []string{"Observation", `Observation.subject 0..1 {"type":[{"code":"Reference","targetProfile":["http://hl7.org/fhir/StructureDefinition/Patient","` + site + `group"]}]}`},
			[]*profile.Definition{definition(t, "group", "1", "Group", "Group")},
			[]string{`"subject":{"reference":"Patient/zqcanary"}`, `"subject":{"reference":"https://x.example/fhir/Group/zqcanary/_history/2"}`, `"subject":{"reference":"Patient?identifier=zqcanary"}`, `"subject":{"reference":"https://x.example/zqcanary"}`, `"subject":{"reference":"urn:uuid:zqcanary"}`, `"subject":{"display":"Zqcanary"}`,
				`"contained":[{"resourceType":"Patient","id":"zqcanary"}],"subject":{"reference":"#zqcanary"}`, `"subject":{"type":"Group","identifier":{"value":"zqcanary"}}`},
			map[string]string{`"subject":{"reference":"Device/zqcanary"}`: "e structure Observation.subject Observation.subject", `"subject":{"type":"Device","identifier":{"value":"zqcanary"}}`: "e structure Observation.subject Observation.subject",
				`"contained":[{"resourceType":"Device","id":"zqcanary"}],"subject":{"reference":"#zqcanary"}`: "e structure Observation.subject Observation.subject"}},
		"reference to an unknown profile": {"Observation", []string{"Observation", `Observation.subject 0..1 {"type":[{"code":"Reference","targetProfile":["http://example.org/unknown"]}]}`}, nil, nil,
			map[string]string{`"subject":{"reference":"Patient/zqcanary"}`: "i not-supported Observation.subject Observation.subject"}},
		"open slices": {"Observation", parts("open", false), nil, []string{fmt.Sprintf(component, part("a")), fmt.Sprintf(component, part("x")+","+part("b")+","+part("a")+","+part("b"))},
			map[string]string{fmt.Sprintf(component, part("b")): "e required Observation.component Observation.component:a", fmt.Sprintf(component, part("a")+","+part("a")): "e structure Observation.component Observation.component:a"}},
		"closed slices": {"Observation", parts("closed", false), nil, []string{fmt.Sprintf(component, part("b")+","+part("a"))},
			map[string]string{fmt.Sprintf(component, part("a")+","+part("zqcanary")): "e structure Observation.component[1] Observation.component"}},
		"open at the end": {"Observation", parts("openAtEnd", false), nil, []string{fmt.Sprintf(component, part("b")+","+part("a")+","+part("x"))},
			map[string]string{fmt.Sprintf(component, part("a")+","+part("zqcanary")+","+part("b")): "e structure Observation.component[2] Observation.component:b"}},
		"ordered slices": {"Observation", parts("open", true), nil, []string{fmt.Sprintf(component, part("a")+","+part("b"))},
			map[string]string{fmt.Sprintf(component, part("b")+","+part("a")): "e structure Observation.component[1] Observation.component:a"}},
		"slices in slices": {"Observation", append(parts("open", false), `Observation.component:b.interpretation {"slicing":{"discriminator":[{"type":"pattern","path":"$this"}],"rules":"open"}}`,
			`Observation.component:b.interpretation:high 1..1 {"patternCodeableConcept":{"text":"high"}}`), nil,
			[]string{fmt.Sprintf(component, part("a")+","+strings.Replace(part("b"), `{"code"`, `{"interpretation":[{"text":"low"},{"text":"high"}],"code"`, 1))},
			map[string]string{fmt.Sprintf(component, part("a")+","+part("b")): "e required Observation.component[1].interpretation Observation.component:b.interpretation:high"}},
		"slices of slices": {"Patient", []string{"Patient", `Patient.identifier {"slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"open"}}`, `Patient.identifier:a 0..2 {"slicing":{"discriminator":[{"type":"value","path":"use"}],"rules":"open"}}`, `Patient.identifier:a.system 1..1 {"fixedUri":"urn:a"}`,
			"Patient.identifier:a/b 1..1", `Patient.identifier:a/b.system 1..1 {"fixedUri":"urn:a"}`, `Patient.identifier:a/b.use 1..1 {"fixedCode":"old"}`}, nil, []string{`"identifier":[{"system":"urn:a","use":"old","value":"zqcanary"}]`},
			map[string]string{`"identifier":[{"system":"urn:a","value":"zqcanary"}]`: "e required Patient.identifier Patient.identifier:a/b"}},
		"slices by what exists": {"Patient", []string{"Patient", `Patient.telecom {"slicing":{"discriminator":[{"type":"exists","path":"period"}],"rules":"open"}}`, "Patient.telecom:now 1..1", "Patient.telecom:now.period 0..0",
			"Patient.telecom:past 0..1", "Patient.telecom:past.period 1..1"}, nil, []string{`"telecom":[{"value":"zqcanary"},{"period":{"start":"2020"}}]`},
			map[string]string{`"telecom":[{"period":{"start":"2020"}}]`: "e required Patient.telecom Patient.telecom:now"}},
		"slices by type of a choice": {"Observation", []string{"Observation", `Observation.value[x] 0..1 {"slicing":{"discriminator":[{"type":"type","path":"$this"}],"rules":"closed"}}`,
			`Observation.value[x]:valueQuantity 0..1 {"type":[{"code":"Quantity"}]}`, `Observation.value[x]:valueQuantity.code 1..1`}, nil, []string{`"valueQuantity":{"code":"zqcanary"}`},
			map[string]string{`"valueQuantity":{"value":1}`: "e required Observation.value.code Observation.value[x]:valueQuantity.code", `"valueString":"zqcanary"`: "e structure Observation.value Observation.value[x]"}},
		"slices by type of a target": {"Observation", []string{"Observation", `Observation.performer {"type":[{"code":"Reference"}],"slicing":{"discriminator":[{"type":"type","path":"resolve()"}],"rules":"open"}}`,
			`Observation.performer:person 1..1 {"type":[{"code":"Reference","targetProfile":["http://hl7.org/fhir/StructureDefinition/Practitioner"]}]}`}, nil,
			[]string{`"performer":[{"reference":"Organization/1"},{"reference":"Practitioner/zqcanary"}]`},
			map[string]string{`"performer":[{"reference":"Organization/zqcanary"}]`: "e required Observation.performer Observation.performer:person",
				`"performer":[{"reference":"urn:uuid:zqcanary"}]`: "i not-supported Observation.performer[0] Observation.performer; i not-supported Observation.performer Observation.performer:person"}},
		"slices by profile": {"Bundle", []string{"Bundle", `Bundle.entry {"slicing":{"discriminator":[{"type":"profile","path":"resource"}],"rules":"open"}}`, "Bundle.entry.resource 0..1", "Bundle.entry:named 1..1",
			`Bundle.entry:named.resource 1..1 {"type":[{"code":"Patient","profile":["` + site + `named"]}]}`}, []*profile.Definition{definition(t, "named", "1", "Patient", "Patient", "Patient.name 1..*")},
			[]string{`"type":"collection","entry":[{"resource":{"resourceType":"Patient"}},{"resource":{"resourceType":"Patient","name":[{"text":"Zqcanary"}]}}]`},
			map[string]string{`"type":"collection","entry":[{"resource":{"resourceType":"Patient"}}]`: "e required Bundle.entry Bundle.entry:named"}},
		"slices that nothing tells": {"Patient", []string{"Patient", `Patient.telecom {"slicing":{"rules":"closed"}}`, "Patient.telecom:x 1..1"}, nil, nil,
			map[string]string{`"telecom":[{"value":"zqcanary"}]`: "i not-supported Patient.telecom[0] Patient.telecom; i not-supported Patient.telecom Patient.telecom:x"}},
		"extensions": {"Patient", []string{"Patient", `Patient.extension {"type":[{"code":"Extension"}]}`, `Patient.extension:colour 1..1 {"type":[{"code":"Extension","profile":["` + site + `colour"]}]}`}, []*profile.Definition{
			definition(t, "colour", "1", "Extension", "Extension", "Extension.extension 0..0", `Extension.url 1..1 {"fixedUri":"`+site+`colour"}`, `Extension.value[x] 1..1 {"type":[{"code":"code"}]}`)},
			[]string{`"extension":[{"url":"` + site + `colour","valueCode":"zqcanary"}]`},
			map[string]string{``: "e required Patient.extension Patient.extension:colour", `"extension":[{"url":"` + site + `colour","valueString":"zqcanary"}]`: "e structure Patient.extension[0].value Extension.value[x]",
				`"extension":[{"url":"` + site + `colour","valueCode":"x"},{"url":"http://zqcanary.example/x","valueCode":"x"}]`: "i not-supported Patient.extension[1]"}},
		"extensions where nothing is said": {"Patient", []string{"Patient", "Patient.name", `Patient.contact {"type":[{"code":"BackboneElement"}]}`, "Patient.deceased[x]"}, []*profile.Definition{
			definition(t, "colour", "1", "Extension", "Extension", `Extension.url 1..1 {"fixedUri":"`+site+`colour"}`, `Extension.value[x] 1..1 {"type":[{"code":"code"}]}`)},
			[]string{`"contact":[{"name":{"_family":{"extension":[{"url":"` + site + `colour","valueCode":"zqcanary"}]}}}]`},
			map[string]string{`"contact":[{"name":{"given":["x"],"_given":[{"extension":[{"url":"` + site + `colour","valueString":"zqcanary"}]}]}}]`: "e structure Patient.contact[0].name.given[0].extension[0].value Extension.value[x]",
				`"name":[{"period":{"extension":[{"url":"urn:zqcanary:x"}]}}]`: "i not-supported Patient.name[0].period.extension[0]"}},
		"extensions of a primitive": {"Patient", []string{"Patient", "Patient.birthDate 0..1", `Patient.birthDate.extension:time 1..1 {"type":[{"code":"Extension","profile":["urn:time"]}]}`, "Patient.name"}, nil, nil,
			map[string]string{`"_birthDate":{"extension":[{"url":"urn:other","valueString":"zqcanary"}]}`: "i not-supported Patient.birthDate.extension[0]; e required Patient.birthDate.extension Patient.birthDate.extension:time"}},
		"content of another element": {"Observation", []string{"Observation", "Observation.referenceRange", "Observation.referenceRange.text 1..1", "Observation.component", `Observation.component.referenceRange {"contentReference":"#Observation.referenceRange"}`}, nil,
			[]string{`"component":[{"code":{"text":"x"},"referenceRange":[{"text":"zqcanary"}]}]`},
			map[string]string{`"component":[{"code":{"text":"x"},"referenceRange":[{"age":{"low":{"value":1}}}]}]`: "e required Observation.component[0].referenceRange[0].text Observation.referenceRange.text"}},
		"type's own profile": {"Patient", []string{"Patient", `Patient.address {"type":[{"code":"Address","profile":["` + site + `address"]}]}`},
			[]*profile.Definition{definition(t, "address", "1", "Address", "Address", "Address.city 1..1")},
			[]string{`"address":[{"city":"Zqcanary"}]`}, map[string]string{`"address":[{"text":"Zqcanary"}]`: "e required Patient.address[0].city Address.city"}},
		"one of several profiles": {"Patient", []string{"Patient", `Patient.address {"type":[{"code":"Address","profile":["` + site + `address","` + site + `letter"]}]}`},
			[]*profile.Definition{definition(t, "address", "1", "Address", "Address", "Address.city 1..1"), definition(t, "letter", "1", "Address", "Address", "Address.line 1..*")},
			[]string{`"address":[{"city":"Zqcanary"},{"line":["Zqcanary"]}]`}, map[string]string{`"address":[{"text":"Zqcanary"}]`: "e invalid Patient.address[0] Patient.address"}},
		"unknown profile of a type": {"Patient", []string{"Patient", `Patient.address {"type":[{"code":"Address","profile":["urn:unknown"]}]}`}, nil, nil,
			map[string]string{`"address":[{"text":"Zqcanary"}]`: "i not-supported Patient.address[0] Patient.address"}},
		"simple quantity": {"Observation", []string{"Observation", `Observation.value[x] {"type":[{"code":"Quantity","profile":["http://hl7.org/fhir/StructureDefinition/SimpleQuantity"]}]}`}, nil,
			[]string{`"valueQuantity":{"value":1}`}, map[string]string{`"valueQuantity":{"value":1,"comparator":"<"}`: "e structure Observation.value Observation.value[x]"}},
		"invariant": {"Patient", []string{"Patient", `Patient.contact {"constraint":[{"key":"c-1","severity":"error","human":"say who","expression":"name.exists() or telecom.exists()"},{"key":"c-2","severity":"warning","human":"better","expression":"gender = 'female'"}]}`}, nil,
			[]string{`"contact":[{"name":{"text":"Zqcanary"},"gender":"female"}]`}, map[string]string{`"contact":[{"gender":"male"}]`: "e invariant Patient.contact[0] c-1; w invariant Patient.contact[0] c-2"}},
		"invariant that cannot be evaluated": {"Patient", []string{"Patient", `Patient.name {"constraint":[{"key":"c-1","severity":"error","human":"x","expression":"trace('x').exists()"},{"key":"c-2","severity":"error","human":"x","expression":"family.((("},
			{"key":"c-3","severity":"error","human":"x","expression":"family.memberOf('urn:x')"},{"key":"c-4","severity":"error","human":"x","expression":"%unknown.exists()"}]}`}, nil, nil,
			map[string]string{`"name":[{"family":"Zqcanary"}]`: "i not-supported Patient.name[0] c-1; i not-supported Patient.name[0] c-2; i not-supported Patient.name[0] c-3; i not-supported Patient.name[0] c-4"}},
		"invariant on a choice": {"Observation", []string{"Observation", `Observation.effective[x] {"type":[{"code":"dateTime"},{"code":"Period"}],"constraint":[{"key":"day","severity":"error","human":"to the day","expression":"$this is dateTime implies $this.toString().length() >= 10"}]}`}, nil,
			[]string{`"effectiveDateTime":"2020-01-02"`, `"effectivePeriod":{"start":"2020"}`}, map[string]string{`"effectiveDateTime":"2020-01"`: "e invariant Observation.effective day"}},
		"invariant over a reference": {"Observation", []string{"Observation", `Observation.performer {"type":[{"code":"Reference"}],"constraint":[{"key":"who","severity":"error","human":"a person","expression":"resolve() is Practitioner"}]}`}, nil,
			[]string{`"performer":[{"reference":"Practitioner/zqcanary"}]`}, map[string]string{`"performer":[{"reference":"Organization/zqcanary"}]`: "e invariant Observation.performer[0] who",
				`"performer":[{"reference":"urn:uuid:zqcanary"}]`: "i not-supported Observation.performer[0] who"}},
		"R4's own invariants": {"Patient", []string{`Patient {"constraint":[{"key":"dom-2","severity":"error","human":"x","expression":"x"},{"key":"dom-3","severity":"error","human":"x","expression":"x"},{"key":"dom-4","severity":"error","human":"x","expression":"x"},
			{"key":"dom-5","severity":"error","human":"x","expression":"x"},{"key":"dom-6","severity":"warning","human":"x","expression":"x"}]}`, `Patient.extension {"type":[{"code":"Extension"}],"constraint":[{"key":"ext-1","severity":"error","human":"x","expression":"x"}]}`,
			`Patient.name {"constraint":[{"key":"ele-1","severity":"error","human":"x","expression":"x"}]}`}, nil,
			[]string{`"text":{"status":"generated","div":"<div>Zqcanary</div>"},"contained":[{"resourceType":"Patient","id":"a"}],"link":[{"other":{"reference":"#a"},"type":"seealso"}]`},
			map[string]string{``: "w invariant Patient dom-6",
				`"text":{"div":"x"},"contained":[{"resourceType":"Patient","id":"a","meta":{"versionId":"1","security":[{"code":"R"}]},"contained":[{"resourceType":"Patient"}]}]`: "e invariant Patient dom-2; e invariant Patient dom-3; e invariant Patient dom-4; e invariant Patient dom-5",
				`"text":{"div":"x"},"extension":[{"url":"x"}],"name":[{"id":"zqcanary"}]`:                                                                                          "e invariant Patient.extension[0] ext-1; e invariant Patient.name[0] ele-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			ch := checker(t, append(c.more, definition(t, "p", "1.0.0", c.typ, c.rows...))...)
			whole := func(members string) string {
				if c.typ == "Observation" {
					return observation(members)
				}
				return `{"resourceType":"` + c.typ + `"` + comma(members) + `}`
			}
			for _, members := range c.good {
				if got := check(t, ch, whole(members), site+"p"); len(got) > 0 {
					t.Errorf("%s is objected to: %v", members, got)
				}
			}
			for members, want := range c.bad {
				got := check(t, ch, whole(members), site+"p")
				if s := strings.Join(short(got), "; "); s != want {
					t.Errorf("%s:\n got %s\nwant %s\n%v", members, s, want, got)
				}
				for _, f := range got {
					if strings.Contains(strings.ToLower(f.Sentence()+f.Expression), "zqcanary") {
						t.Errorf("a finding repeats a value: %s", f.Sentence())
					}
				}
				if again := check(t, ch, whole(members), site+"p"); !slices.Equal(got, again) {
					t.Errorf("%s: the order changes: %v, %v", members, got, again)
				}
			}
		})
	}
}
