package fhir

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	const doc = `{"resourceType":"Observation","id":"o","meta":{"versionId":"1","tag":[{"code":"t"}],"security":[{"code":"R"}]},"text":{"status":"generated","div":"<div>x</div>"},"modifierExtension":[{"url":"u"}],"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value":5.40},"note":[{"text":"n"}],"_valueQuantity":{"id":"v"}}`
	const meta = `"meta":{"versionId":"1","tag":[{"code":"t"},{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}],"security":[{"code":"R"}]}`
	const head = `{"resourceType":"Observation","id":"o",` + meta
	for _, c := range []struct {
		mode     Summary
		elements []string
		want     string
	}{
		{SummaryFalse, nil, doc},
		{SummaryCount, nil, doc},
		{SummaryTrue, nil, head + `,"modifierExtension":[{"url":"u"}],"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value":5.40},"_valueQuantity":{"id":"v"}}`},
		{SummaryText, nil, head + `,"text":{"status":"generated","div":"<div>x</div>"},"modifierExtension":[{"url":"u"}],"status":"final","_status":{"id":"s"},"code":{"text":"c"}}`},
		{SummaryData, nil, head + `,"modifierExtension":[{"url":"u"}],"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value":5.40},"note":[{"text":"n"}],"_valueQuantity":{"id":"v"}}`},
		{SummaryFalse, []string{"note"}, head + `,"modifierExtension":[{"url":"u"}],"status":"final","_status":{"id":"s"},"code":{"text":"c"},"note":[{"text":"n"}]}`},
		{SummaryFalse, []string{"value"}, head + `,"modifierExtension":[{"url":"u"}],"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value":5.40},"_valueQuantity":{"id":"v"}}`},
	} {
		got, err := Summarize([]byte(doc), c.mode, c.elements)
		if err != nil || string(got) != c.want {
			t.Errorf("%v %v: %v\n got %s\nwant %s", c.mode, c.elements, err, got, c.want)
		}
	}
	for in, want := range map[string]string{
		`{"resourceType":"Patient","id":"p","gender":"male"}`:              `{"resourceType":"Patient","meta":{"tag":[` + subsettedTag + `]},"id":"p","gender":"male"}`,
		`{"resourceType":"Patient","meta":{},"id":"p"}`:                    `{"resourceType":"Patient","meta":{"tag":[` + subsettedTag + `]},"id":"p"}`,
		`{"resourceType":"Patient","meta":{"tag":[]},"id":"p"}`:            `{"resourceType":"Patient","meta":{"tag":[` + subsettedTag + `]},"id":"p"}`,
		`{"resourceType":"Patient","meta":{"security":[{"code":"R"}]}}`:    `{"resourceType":"Patient","meta":{"security":[{"code":"R"}],"tag":[` + subsettedTag + `]}}`,
		`{"resourceType":"Patient","meta":{"tag":[` + subsettedTag + `]}}`: `{"resourceType":"Patient","meta":{"tag":[` + subsettedTag + `]}}`,
	} {
		if got, err := Summarize([]byte(in), SummaryTrue, nil); err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", in, err, got, want)
		}
	}
	for _, in := range []string{"{", `{"resourceType":"Nope"}`, "[]"} {
		if _, err := Summarize([]byte(in), SummaryTrue, nil); err == nil {
			t.Errorf("%s was summarized", in)
		}
	}
}

// TestTopElements: the table knows every type, and meta and id of each.
func TestTopElements(t *testing.T) {
	for _, typ := range Types() {
		if !HasElement(typ, "id") || !HasElement(typ, "meta") || HasElement(typ, "nonsense") {
			t.Errorf("%s: %q", typ, topElements(typ))
		}
	}
	if HasElement("Observation", "valueQuantity") || !HasElement("Observation", "value") || strings.Contains(topElements("Patient"), ".") {
		t.Error("choices are named without their type")
	}
}
