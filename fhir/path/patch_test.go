package path

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"trellis/fhir"
)

const patient = `{"resourceType":"Patient","id":"p","active":true,"name":[{"use":"official","family":"A","given":["x","y"]},{"use":"usual","given":["z"]}],` +
	`"birthDate":"1920-01-01","_birthDate":{"extension":[{"url":"u","valueString":"v"}]},"deceasedBoolean":false,"contact":[{"name":{"text":"c"},"gender":"unknown"}],` +
	`"identifier":[{"system":"s1","value":"1"},{"system":"s2","value":"2"},{"system":"s3","value":"3"}],"extension":[{"url":"e1","valueString":"old"}]}`

// operationOf writes an operation from its parts.
func operationOf(parts ...string) string {
	return `{"name":"operation","part":[` + strings.Join(parts, ",") + `]}`
}

func kind(k, path string) string {
	return `{"name":"type","valueCode":"` + k + `"},{"name":"path","valueString":"` + path + `"}`
}

// TestPatch holds each operation to what R4 says of it (fhirpatch.html), in the manner of HL7's own cases.
func TestPatch(t *testing.T) {
	value := func(v string) string { return `{"name":"value",` + v + `}` }
	name := func(n string) string { return `{"name":"name","valueString":"` + n + `"}` }
	number := func(n, v string) string { return `{"name":"` + n + `","valueInteger":` + v + `}` }
	for title, c := range map[string]struct {
		patch    string
		has, not string // in the outcome, without spaces
		category fhir.Category
	}{
		"add a primitive":           {patch: operationOf(kind("add", "Patient"), name("gender"), value(`"valueCode":"male"`)), has: `"gender":"male"`},
		"add what is there":         {patch: operationOf(kind("add", "Patient"), name("birthDate"), value(`"valueDate":"1930-01-01"`)), category: fhir.Unprocessable},
		"add a choice":              {patch: operationOf(kind("add", "Patient"), name("multipleBirth"), value(`"valueInteger":2`)), has: `"multipleBirthInteger":2`},
		"add a choice that is made": {patch: operationOf(kind("add", "Patient"), name("deceased"), value(`"valueDateTime":"2020"`)), category: fhir.Unprocessable},
		"add a choice of no type":   {patch: operationOf(kind("add", "Patient"), name("multipleBirth"), value(`"valueString":"x"`)), category: fhir.Unprocessable},
		"add to a list":             {patch: operationOf(kind("add", "Patient.name[1]"), name("given"), value(`"valueString":"w"`)), has: `"given":["z","w"]`},
		"add a new list":            {patch: operationOf(kind("add", "Patient"), name("maritalStatus"), value(`"valueCodeableConcept":{"text":"m"}`)), has: `"maritalStatus":{"text":"m"}`},
		"add a backbone element": {patch: operationOf(kind("add", "Patient"), name("contact"), `{"name":"value","part":[{"name":"name","valueHumanName":{"text":"d"}},{"name":"telecom","valueContactPoint":{"value":"1"}},{"name":"telecom","valueContactPoint":{"value":"2"}}]}`),
			has: `{"name":{"text":"d"},"telecom":[{"value":"1"},{"value":"2"}]}`},
		"add an unknown element":      {patch: operationOf(kind("add", "Patient"), name("nickname"), value(`"valueString":"x"`)), category: fhir.Invalid},
		"insert first":                {patch: operationOf(kind("insert", "Patient.identifier"), number("index", "0"), value(`"valueIdentifier":{"system":"s0"}`)), has: `"identifier":[{"system":"s0"},{"system":"s1"`},
		"insert last":                 {patch: operationOf(kind("insert", "Patient.identifier"), number("index", "3"), value(`"valueIdentifier":{"system":"s4"}`)), has: `"value":"3"},{"system":"s4"}]`},
		"insert beyond the end":       {patch: operationOf(kind("insert", "Patient.identifier"), number("index", "4"), value(`"valueIdentifier":{"system":"s4"}`)), category: fhir.Unprocessable},
		"insert into no list":         {patch: operationOf(kind("insert", "Patient.birthDate"), number("index", "0"), value(`"valueDate":"1930"`)), category: fhir.Invalid},
		"delete":                      {patch: operationOf(kind("delete", "Patient.birthDate")), not: `irthDate`},
		"delete an item":              {patch: operationOf(kind("delete", "Patient.identifier.where(system = 's2')")), has: `[{"system":"s1","value":"1"},{"system":"s3","value":"3"}]`},
		"delete the only item":        {patch: operationOf(kind("delete", "Patient.contact[0]")), not: `contact`},
		"delete what is not there":    {patch: operationOf(kind("delete", "Patient.maritalStatus")), has: `"id":"p"`},
		"delete several":              {patch: operationOf(kind("delete", "Patient.name.given")), category: fhir.Unprocessable},
		"delete by two conditions":    {patch: operationOf(kind("delete", "Patient.identifier.where(system='s3' and value='3')")), not: `s3`},
		"delete an extension":         {patch: operationOf(kind("delete", "Patient.extension('e1')")), not: `e1`},
		"delete the resource":         {patch: operationOf(kind("delete", "Patient")), category: fhir.Unprocessable},
		"replace":                     {patch: operationOf(kind("replace", "Patient.birthDate"), value(`"valueDate":"1930-01-01"`)), has: `"birthDate":"1930-01-01"`, not: `_birthDate`},
		"replace a choice":            {patch: operationOf(kind("replace", "Patient.deceased"), value(`"valueDateTime":"2020"`)), has: `"deceasedDateTime":"2020"`, not: `deceasedBoolean`},
		"replace a choice by type":    {patch: operationOf(kind("replace", "Patient.deceased.ofType(boolean)"), value(`"valueBoolean":true`)), has: `"deceasedBoolean":true`},
		"replace an item":             {patch: operationOf(kind("replace", "Patient.name.first().given.last()"), value(`"valueString":"q"`)), has: `"given":["x","q"]`},
		"replace in a backbone":       {patch: operationOf(kind("replace", "Patient.contact[0].gender"), value(`"valueCode":"female"`)), has: `"gender":"female"`},
		"replace nothing":             {patch: operationOf(kind("replace", "Patient.name[7].family"), value(`"valueString":"q"`)), category: fhir.Unprocessable},
		"move":                        {patch: operationOf(kind("move", "Patient.identifier"), number("source", "2"), number("destination", "0")), has: `[{"system":"s3","value":"3"},{"system":"s1"`},
		"move beyond the end":         {patch: operationOf(kind("move", "Patient.identifier"), number("source", "0"), number("destination", "3")), category: fhir.Unprocessable},
		"two operations in order":     {patch: operationOf(kind("delete", "Patient.identifier[0]")) + "," + operationOf(kind("delete", "Patient.identifier[0]")), has: `"identifier":[{"system":"s3"`},
		"another type":                {patch: operationOf(kind("delete", "Observation.status")), category: fhir.Invalid},
		"an unknown operation":        {patch: operationOf(kind("test", "Patient.active")), category: fhir.Invalid},
		"an operation without a part": {patch: operationOf(kind("add", "Patient"), name("gender")), category: fhir.Invalid},
		"an unknown part":             {patch: operationOf(kind("delete", "Patient.active"), `{"name":"when","valueString":"x"}`), category: fhir.Invalid},
		"a function":                  {patch: operationOf(kind("delete", "Patient.name.select(given)")), category: fhir.Unsupported},
		"an unclosed call":            {patch: operationOf(kind("delete", "Patient.name.where(use='usual'")), category: fhir.Invalid},
		"an unclosed text":            {patch: operationOf(kind("delete", "Patient.name.where(use='usual")), category: fhir.Invalid},
		"no operation":                {patch: `{"name":"x","valueString":"y"}`, category: fhir.Invalid},
	} {
		t.Run(title, func(t *testing.T) {
			out, err := apply(t, patient, `{"resourceType":"Parameters","parameter":[`+c.patch+`]}`)
			var p *fhir.Problem
			if errors.As(err, &p) != (c.category != 0) || (p != nil && p.Category != c.category) {
				t.Fatalf("%v", err)
			}
			if err == nil && (!json.Valid(out) || !strings.Contains(string(out), c.has) || (c.not != "" && strings.Contains(string(out), c.not))) {
				t.Errorf("%s", out)
			}
		})
	}
}

func apply(t testing.TB, resource, patch string) ([]byte, error) {
	t.Helper()
	res, err := fhir.ReadTrusted([]byte(resource))
	if err != nil {
		t.Fatal(err)
	}
	parameters, err := fhir.ReadTrusted([]byte(patch))
	if err != nil {
		return nil, err
	}
	p, err := ReadPatch(parameters)
	if err != nil {
		return nil, err
	}
	return p.Apply(res)
}

// TestApplyLeavesTheResource: a patch works on a copy and can be applied again.
func TestApplyLeavesTheResource(t *testing.T) {
	res, err := fhir.ReadTrusted([]byte(patient))
	if err != nil {
		t.Fatal(err)
	}
	parameters, err := fhir.ReadTrusted([]byte(`{"resourceType":"Parameters","parameter":[` + operationOf(kind("delete", "Patient.identifier[0]")) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ReadPatch(parameters)
	if err != nil {
		t.Fatal(err)
	}
	first, err := p.Apply(res)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.Apply(res); err != nil || string(again) != string(first) || string(res.JSON) != patient {
		t.Errorf("%v: %s", err, again)
	}
}

// FuzzPatch: whatever a patch holds, what comes out is JSON or an error with a public half.
func FuzzPatch(f *testing.F) {
	for _, p := range []string{"Patient.name[0].given", "Patient.identifier.where(system='s1')", "Patient.deceased", "Patient.extension('e1').value", "name.first().ofType(HumanName)", "Patient.contact[0]", "`name`", "Patient.name.where(use=", "a[", "('"} {
		for _, k := range []string{"add", "insert", "delete", "replace", "move"} {
			f.Add(k, p, "given", `"valueString":"x"`, 0, 1)
		}
	}
	f.Fuzz(func(t *testing.T, k, path, name, value string, index, to int) {
		quoted := func(s string) string { return string(fhir.Quote(s)) }
		number := func(n int) string { out, _ := json.Marshal(n); return string(out) }
		out, err := apply(t, patient, `{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":`+quoted(k)+`},{"name":"path","valueString":`+quoted(path)+
			`},{"name":"name","valueString":`+quoted(name)+`},{"name":"value",`+value+`},{"name":"index","valueInteger":`+number(index)+`},{"name":"source","valueInteger":`+number(index)+`},{"name":"destination","valueInteger":`+number(to)+`}]}]}`)
		var p *fhir.Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("%T", err)
		}
		if err == nil && !json.Valid(out) {
			t.Fatalf("%s", out)
		}
	})
}
