package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"trellis/fhir/search"
	"trellis/gateway/bulk"
)

// custom is a SearchParameter by the color of a note, which R4 has no parameter for.
func custom(id, code, expression, status string) []byte {
	return fmt.Appendf(nil, `{"resourceType":"SearchParameter","id":%q,"url":"urn:example:%s","name":"Custom","status":%q,"description":"custom","code":%q,"base":["Condition"],"type":"string","expression":%q}`,
		id, id, status, code, expression)
}

// index steps an indexer until it finds nothing to do; the clock moves past the time replicas are given.
func (in *installation) index(x *bulk.Indexer) {
	in.t.Helper()
	for range 3 { // a removal, and then what takes its place
		in.clock.advance(5 * time.Second)
		for worked := true; worked; {
			var err error
			if worked, err = x.Step(in.t.Context()); err != nil {
				in.t.Fatal(err)
			}
		}
	}
	if err := x.Parameters.SyncParameters(in.t.Context()); err != nil {
		in.t.Fatal(err)
	}
}

// TestCustomSearchParameter: defined by the operator, refused until its rows are made, then found by; changed, retired
// and deleted with its rows.
func TestCustomSearchParameter(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		operator, hospital, x := in.as("operator-loader", ""), in.as("hospital", "TREAT"), in.gateway.indexer
		sameStatus := func(what string, a reply, status int, says string) {
			t.Helper()
			if a.status != status || !strings.Contains(string(a.body), says) {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		define := func(v visitor, id, code, expression, status string) reply {
			return v.plain("PUT", "SearchParameter/"+id, custom(id, code, expression, status))
		}
		sameStatus("another than the operator", define(in.as("hospital-loader", ""), "words", "words", "Condition.code.text", "active"), 403, "does not allow")
		sameStatus("a code of R4", define(operator, "words", "code", "Condition.code.text", "active"), 422, "R4 defines")
		sameStatus("an expression that is not offered", define(operator, "words", "words", "Condition.code.text.replace('a','b')", "active"), 422, "SearchParameter")
		sameStatus("a time of care", define(operator, "words", "period", "Condition.code.text", "active"), 422, "time of care")
		sameStatus("unknown", hospital.get("Condition?words=Zqcanary"), 400, "words")
		sameStatus("defined", define(operator, "words", "words", "Condition.code.text", "active"), 201, "")
		for i := range 3 {
			in.as("hospital-loader", "").ask(request{method: "PUT", path: fmt.Sprintf("Condition/W%d", i), body: []byte(strings.Replace(about("Patient/P1"), `"Condition",`, fmt.Sprintf(`"Condition","id":"W%d",`, i), 1))})
		}
		if err := x.Parameters.SyncParameters(t.Context()); err != nil {
			t.Fatal(err)
		}
		sameStatus("not ready", hospital.get("Condition?words=Zqcanary"), 503, "being indexed")
		sameStatus("not ready, as a sort", hospital.get("Condition?_sort=words"), 503, "being indexed")
		sameStatus("status", hospital.plain("GET", "SearchParameter/words/$status", nil), 200, "indexing")
		// A record written while the index is made.
		in.as("hospital-loader", "").ask(request{method: "PUT", path: "Condition/W3", body: []byte(strings.Replace(about("Patient/P1"), `"Condition",`, `"Condition","id":"W3",`, 1))})
		in.index(x)
		in.checkIndex()
		sameStatus("status", hospital.plain("GET", "SearchParameter/words/$status", nil), 200, "ready")
		found := hospital.get("Condition?words=zqcan").bundle(t).references()
		for _, want := range []string{"Condition/W0", "Condition/W1", "Condition/W2", "Condition/W3"} {
			if !slices.Contains(found, want) {
				t.Errorf("%s is not found: %v", want, found)
			}
		}
		// Another definition under the same resource takes its place.
		sameStatus("changed", define(operator, "words", "wording", "Condition.code.text", "active"), 200, "")
		in.index(x)
		in.checkIndex()
		sameStatus("the old code", hospital.get("Condition?words=zqcan"), 400, "words")
		if got := hospital.get("Condition?wording=zqcan").bundle(t).references(); !slices.Equal(got, found) {
			t.Errorf("the new code finds %v, the old one found %v", got, found)
		}
		rows := in.rowsOf("idx_string")
		sameStatus("retired", define(operator, "words", "wording", "Condition.code.text", "retired"), 200, "")
		in.index(x)
		in.checkIndex()
		sameStatus("retired", hospital.get("Condition?wording=zqcan"), 400, "wording")
		if left := in.rowsOf("idx_string"); left >= rows {
			t.Errorf("%d rows before, %d after", rows, left)
		}
		sameStatus("active again", define(operator, "words", "wording", "Condition.code.text", "active"), 200, "")
		in.index(x)
		sameStatus("active again", hospital.get("Condition?wording=zqcan"), 200, "W3")
		sameStatus("deleted", operator.plain("DELETE", "SearchParameter/words", nil), 204, "")
		in.index(x)
		sameStatus("deleted", hospital.get("Condition?wording=zqcan"), 400, "wording")
	})
}

// TestReplicasShareAParameter: a second process learns of a definition, does part of the work and goes on where the
// first one ended; what it makes twice is there once. A process started later knows it too.
func TestReplicasShareAParameter(t *testing.T) {
	in := newInstallation(t, location{data: t.TempDir(), postgres: database(t)}, "")
	in.load("K1")
	registry, err := search.New()
	if err != nil {
		t.Fatal(err)
	}
	other, err := in.where.open(t.Context(), in.gateway.base, registry, in.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	if a := in.as("operator-loader", "").plain("PUT", "SearchParameter/words", custom("words", "words", "Condition.code.text", "active")); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := in.gateway.store.SyncParameters(t.Context()); err != nil {
		t.Fatal(err)
	}
	if worked, err := in.gateway.store.IndexParameters(t.Context()); worked || err != nil {
		t.Fatalf("the work began before other replicas can know: %v", err)
	}
	in.clock.advance(5 * time.Second)
	if worked, err := other.IndexParameters(t.Context()); worked || err != nil {
		t.Fatalf("a replica that does not know the definition worked on it: %v", err)
	}
	in.index(&bulk.Indexer{Parameters: other})
	if err := in.gateway.store.SyncParameters(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := in.as("otp", "TREAT").get("Condition?words:missing=false"); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if err := other.CheckIndex(t.Context()); err != nil {
		t.Error(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
