package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naming are searches by what names a record: @ is its reference, # its id, % a Patient's id.
var naming = []string{"Observation?focus=@", "CarePlan?condition=@", "CarePlan?activity-reference=@", "List?item=@", "MedicationRequest?encounter=@", "Condition?encounter=@", "DiagnosticReport?result=@",
	"Encounter?diagnosis=@", "Condition?patient=%&_content=#", "CarePlan?patient=%&_content=#", "List?patient=%&_content=#", "CarePlan?patient=%&_text=#", "Observation?patient=%&_content=#",
	"Encounter?patient=%&service-provider=@", "Patient?_id=%&organization=@", "Organization?_id=#&_revinclude=Encounter:service-provider&_revinclude=Patient:organization", "Goal?patient=%&_source=urn:example:ward"}

// TestHiddenRecordsAreNotNamed: whatever is asked, no record of others that the caller gets names one that it may not see, nor
// the program where nothing of it may be known; and no record of others is found by naming it. That two installations answer
// alike does not show it: the record that names is in both.
func TestHiddenRecordsAreNotNamed(t *testing.T) {
	t.Parallel()
	looked, named := 0, 0
	check(t, 1, func(rt *rapid.T, w *world, in, _ *installation) {
		g := w.drawGraph(rt)
		consents := rapid.IntRange(0, 2).Draw(rt, "consents")
		for i := range consents {
			g.writes = append(g.writes, w.drawConsent(rt, g, fmt.Sprintf("%sk%d", g.tag, i)))
		}
		in.clock.advance(time.Minute)
		since := in.clock.now().UTC().Format("2006-01-02T15:04:05Z")
		w.write(rt, in, g.writes, nil)
		by := drawAsker(rt)
		owner := map[string]string{}
		for _, p := range g.writes {
			owner[p.ref()] = p.owner
		}
		secrets := []string{}
		for _, record := range g.records() {
			// Whom a record is about it tells itself.
			if a := w.direct(in, by.client, by.purpose, request{method: "GET", path: record}); a.status == 404 && !strings.HasPrefix(record, "Patient/") {
				secrets = append(secrets, record)
			}
		}
		named += len(secrets)
		if consents == 0 {
			secrets = append(secrets, "Organization/otp")
		}
		for range rapid.IntRange(25, 50).Draw(rt, "requests") {
			r, found := g.drawRequest(rt, since), ""
			if r.method == "HEAD" {
				r.method = "GET"
			}
			if len(secrets) > 0 && chance(rt, "naming", 3) {
				found = pick(rt, "named", secrets...)
				_, id, _ := strings.Cut(found, "/")
				r = request{method: "GET", path: strings.NewReplacer("@", found, "#", id, "%", pick(rt, "of", g.people...)).Replace(pick(rt, "by", naming...))}
			}
			a := w.direct(in, by.client, by.purpose, r)
			for _, doc := range records(a.body) {
				var is struct {
					ResourceType, ID string
					Meta             struct{ Source string }
				}
				if err := json.Unmarshal(doc, &is); err != nil {
					rt.Fatal(err)
				}
				of, ours := owner[is.ResourceType+"/"+is.ID]
				if !ours || of == by.client || stated(is.ResourceType) {
					continue // an organisation's own records say what it wrote
				}
				looked++
				if found != "" {
					rt.Fatalf("%s for %s: %s finds another's record by what it may not know:\n%s", by.client, by.purpose, r.path, doc)
				}
				if is.Meta.Source != "" {
					rt.Fatalf("%s for %s: %s %s: another's record says where it came from:\n%s", by.client, by.purpose, r.method, r.path, doc)
				}
				for _, secret := range secrets {
					if of != strings.TrimPrefix(secret, "Organization/") && namesIt(doc, secret) {
						rt.Fatalf("%s for %s: %s %s: another's record names %s:\n%s", by.client, by.purpose, r.method, r.path, secret, doc)
					}
				}
			}
		}
	})
	if looked == 0 || named == 0 {
		t.Errorf("%d records of others were looked at, %d were hidden", looked, named)
	}
}

// records are the resources of an answer: of a Bundle its entries'.
func records(body []byte) []json.RawMessage {
	var b struct {
		ResourceType string
		Entry        []struct{ Resource json.RawMessage }
	}
	if json.Unmarshal(body, &b) != nil || b.ResourceType == "" {
		return nil
	}
	if b.ResourceType != "Bundle" {
		return []json.RawMessage{body}
	}
	var out []json.RawMessage
	for _, e := range b.Entry {
		if e.Resource != nil {
			out = append(out, e.Resource)
		}
	}
	return out
}

// namesIt reports whether a document has a reference in it, as one or within a text.
func namesIt(doc []byte, reference string) bool {
	for rest := doc; ; {
		i := bytes.Index(rest, []byte(reference))
		if i < 0 {
			return false
		}
		rest = rest[i+len(reference):]
		if next := rest[0]; !slices.Contains([]byte("-."), next) && (next < '0' || next > '9') && (next < 'a' || next > 'z') {
			return true
		}
	}
}
