package fhir

import (
	"slices"
	"testing"
)

// TestRelink replaces references and links and nothing else, byte for byte.
func TestRelink(t *testing.T) {
	const doc = `{"resourceType":"DocumentReference","subject":{"reference":"a","display":"a"},"identifier":[{"system":"a","value":"a"}],` +
		`"content":[{"attachment":{"url":"a","extension":[{"url":"a","valueUri":"a"},{"url":"b","extension":[{"url":"a","valueReference":{"reference":"a"}}]}]}}],"description":"a","meta":{"profile":["a"],"x":1.50}}`
	const want = `{"resourceType":"DocumentReference","subject":{"reference":"B\"","display":"a"},"identifier":[{"system":"a","value":"a"}],` +
		`"content":[{"attachment":{"url":"B\"","extension":[{"url":"a","valueUri":"B\""},{"url":"b","extension":[{"url":"a","valueReference":{"reference":"B\""}}]}]}}],"description":"a","meta":{"profile":["a"],"x":1.50}}`
	res, err := ReadTrusted([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	got, changed := Relink(res, func(link string, _ bool) (string, bool) { return `B"`, link == "a" })
	if !changed || string(got) != want {
		t.Errorf("%s", got)
	}
	if got, changed := Relink(res, func(string, bool) (string, bool) { return "", false }); changed || string(got) != doc {
		t.Errorf("%s", got)
	}
	if got := Links(res); !slices.Equal(got, []string{"a", "a", "a", "a"}) {
		t.Errorf("%v", got)
	}
}

// TestShapeOf asks what R4 says of elements at any depth.
func TestShapeOf(t *testing.T) {
	for path, want := range map[[3]string]Shape{
		{"Patient", "contact", "telecom"}:         {Known: true, Repeats: true},
		{"Patient", "name", "family"}:             {Known: true},
		{"Encounter", "class", "code"}:            {Known: true},
		{"Observation", "valueQuantity", "value"}: {Known: true},
		{"Patient", "name", "nick"}:               {},
		{"Nothing", "name", "family"}:             {},
	} {
		if got := ShapeOf(path[0], path[1:]...); got.Known != want.Known || got.Repeats != want.Repeats {
			t.Errorf("%v: %+v", path, got)
		}
	}
	if got := ShapeOf("Patient", "deceased"); !slices.Equal(got.Choices, []string{"deceasedBoolean", "deceasedDateTime"}) || got.Repeats {
		t.Errorf("%+v", got)
	}
}
