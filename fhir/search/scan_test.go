package search

import "testing"

func TestScans(t *testing.T) {
	r := registry(t)
	doc := []byte(`{"resourceType":"Observation","id":"o","text":{"status":"generated","div":"<div title=\"hidden\">Café <b>no</b>ir &amp; more</div>"},
	 "code":{"text":"Serum Sodium","coding":[{"code":"x","display":"Natrium level"}]},"subject":{"reference":"Patient/p","display":"Ann Lee"},
	 "note":[{"text":"Feels better"}],"component":[{"code":{"text":"part"},"valueString":"quite low"}]}`)
	for query, want := range map[string]bool{
		"code:text=sodium":       true,
		"code:text=serum so":     true,
		"code:text=NATRIUM":      true,
		"code:text=odium":        false,
		"code:text=nope,level":   true,
		"patient:text=lee":       true,
		"patient:text=bob":       false,
		"_text=cafe":             true,
		"_text=more noir":        false,
		"_text=more café":        true,
		"_text=hidden":           false,
		"_text=better":           false,
		"_text=generated":        false,
		"_content=better":        true,
		"_content=quite sodium":  true,
		"_content=quite nothing": false,
		"_content=nothing,low":   true,
		"_content=hidden":        false,
	} {
		q, err := parseTree(t, r, "Observation", query, Options{})
		if err != nil {
			t.Fatal(query, err)
		}
		if got := q.Where[0].(Scan).Holds(doc); got != want {
			t.Errorf("%s: %v", query, got)
		}
	}
	q, err := parseTree(t, r, "Observation", "_text=x", Options{})
	if err != nil || q.Where[0].(Scan).Holds([]byte("{")) {
		t.Error("a body that is no resource matches nothing", err)
	}
}
