package main

import (
	"strings"
	"testing"
)

// TestPatch changes a record by both kinds of patch: what fits is stored as a new version with its labels, what does
// not leaves it alone.
func TestPatch(t *testing.T) {
	const asJSON = "application/json-patch+json"
	fhirPatch := func(parts string) []byte {
		return []byte(`{"resourceType":"Parameters","parameter":[{"name":"operation","part":[` + parts + `]}]}`)
	}
	patch := func(path, body, contentType string, header map[string]string) request {
		return request{method: "PATCH", path: path, body: []byte(body), contentType: contentType, header: header}
	}
	replaceDate := fhirPatch(`{"name":"type","valueCode":"replace"},{"name":"path","valueString":"Condition.recordedDate"},{"name":"value","valueDateTime":"2026-04-04"}`)
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		in.follow("otp", []step{
			{"JSON Patch", patch("Condition/C1", `[{"op":"test","path":"/recordedDate","value":"2026-02-01"},{"op":"replace","path":"/recordedDate","value":"2026-03-03"}]`, asJSON, nil), 200, `"recordedDate":"2026-03-03"`, [2]string{"ETag", `W/"2"`}},
			{"labels stay", patch("Condition/C1", `[{"op":"test","path":"/meta/security/0/code","value":"R"}]`, asJSON, nil), 200, part2Label, [2]string{"ETag", `W/"2"`}},
			{"a failing test", patch("Condition/C1", `[{"op":"test","path":"/recordedDate","value":"1999"}]`, asJSON, nil), 422, "test", [2]string{}},
			{"a path that is not there", patch("Condition/C1", `[{"op":"remove","path":"/zqcanary"}]`, asJSON, nil), 422, "fit", [2]string{}},
			{"what is then no resource", patch("Condition/C1", `[{"op":"add","path":"/nickname","value":"Zqcanary"}]`, asJSON, nil), 422, "Condition", [2]string{}},
			{"another id", patch("Condition/C1", `[{"op":"replace","path":"/id","value":"C7"}]`, asJSON, nil), 422, "id", [2]string{}},
			{"no patch", patch("Condition/C1", `{"op":"remove"}`, asJSON, nil), 400, "JSON Patch", [2]string{}},
			{"of an old version", patch("Condition/C1", `[{"op":"remove","path":"/recordedDate"}]`, asJSON, map[string]string{"If-Match": `W/"1"`}), 412, "version", [2]string{}},
			{"FHIRPath Patch", patch("Condition/C1", string(replaceDate), "", map[string]string{"If-Match": `W/"2"`}), 200, `"recordedDate":"2026-04-04"`, [2]string{"ETag", `W/"3"`}},
			{"FHIRPath that fits nothing", patch("Condition/C1", string(fhirPatch(`{"name":"type","valueCode":"replace"},{"name":"path","valueString":"Condition.onset"},{"name":"value","valueString":"Zqcanary"}`)), "", nil), 422, "exactly one", [2]string{}},
			{"FHIRPath with an unknown function", patch("Condition/C1", string(fhirPatch(`{"name":"type","valueCode":"delete"},{"name":"path","valueString":"Condition.code.repeat(x)"}`)), "", nil), 400, "function", [2]string{}},
			{"no Parameters", patch("Condition/C1", `{"resourceType":"Basic","code":{"text":"Zqcanary"}}`, "", nil), 400, "Parameters", [2]string{}},
			{"merge patch", patch("Condition/C1", `{}`, "application/merge-patch+json", nil), 415, "patch", [2]string{}},
		})
		if a := in.as("hospital", "TREAT").ask(patch("Condition/C2", `[{"op":"remove","path":"/note"}]`, asJSON, nil)); a.status != 200 || strings.Contains(string(a.body), "Zqcanary note") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
