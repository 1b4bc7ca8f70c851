package mapping

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The laws hold of resources as they come from others: without embedded snapshots (contained resources, Binary and
// DocumentReference) and without extensions that nobody declared. Nothing of a record may hide in those.

// stripped is a resource without its snapshots and undeclared extensions; false when it is a snapshot itself.
func (p *Pack) stripped(body map[string]any) bool {
	declared := p.LocalExtensions()
	base := CaseEnv().Base + "/StructureDefinition/"
	delete(body, "contained")
	walkJSON(body, func(m map[string]any) {
		for _, name := range []string{"extension", "modifierExtension"} {
			list, ok := m[name].([]any)
			if !ok {
				continue
			}
			list = slices.DeleteFunc(list, func(e any) bool {
				url, _ := asObject(e).fields["url"].(string)
				local, ours := strings.CutPrefix(url, base)
				switch {
				case ours:
					return !slices.Contains(declared, local)
				case strings.HasPrefix(url, "http://hl7.org/fhir/"):
					return false
				}
				return strings.Contains(url, ":") // parts of a complex extension have a bare name
			})
			if m[name] = list; len(list) == 0 {
				delete(m, name)
			}
		}
	})
	return body["resourceType"] != "Binary" && body["resourceType"] != "DocumentReference"
}

func unchangedBody(rapid.TB, map[string]any) bool { return true }

// burdened puts a snapshot and an undeclared extension into a resource and strips it.
func (p *Pack) burdened(t rapid.TB, body map[string]any) bool {
	body["contained"] = []any{map[string]any{"resourceType": "Basic", "id": "snapshot"}}
	list, _ := body["extension"].([]any)
	body["extension"] = append(slices.Clone(list), map[string]any{"url": "https://ehr.example/undeclared", "valueString": "x"})
	keep := p.stripped(body)
	if strings.Contains(string(mustJSON(t, body)), "undeclared") || body["contained"] != nil {
		t.Fatal("it was not stripped")
	}
	return keep
}

// nativesOf is what the records of a result come back as, after change has been at their resources.
func (p *Pack) nativesOf(t rapid.TB, env Env, res *Result, change func(rapid.TB, map[string]any) bool) string {
	var bodies [][]byte
	for i := range res.Records {
		for _, r := range res.Records[i].Resources {
			v, err := decodeJSON(r.JSON)
			if err != nil {
				t.Fatal(err)
			}
			if body := asObject(v).fields; change(t, body) {
				bodies = append(bodies, mustJSON(t, body))
			}
		}
	}
	natives, _, err := p.Back(env, bodies)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, n := range natives {
		out.WriteString(n.Map + " " + n.Key + " " + string(mustJSON(t, n.Record)) + "\n")
	}
	return out.String()
}

// What packs write of their own is declared, so that stripping takes nothing of it.
func TestStrippingTakesNothingOfOurs(t *testing.T) {
	eachCase(t, func(t *testing.T, p *Pack, file, input string) {
		res, err := mapInput(p, testEnv(false), input)
		if err != nil {
			return // cases of refused input
		}
		for i := range res.Records {
			for _, r := range res.Records[i].Resources {
				var body, before map[string]any
				if err := json.Unmarshal(r.JSON, &body); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(r.JSON, &before); err != nil {
					t.Fatal(err)
				}
				if keep := p.stripped(body); !keep || string(mustJSON(t, body)) != string(mustJSON(t, before)) {
					t.Errorf("%s: %s holds a snapshot or an extension that nobody declared", file, r.Slot)
				}
			}
		}
	})
}
