package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"trellis/auth/oauth"
)

// loader is an ingestion into an installation as one of its clients.
func (in *installation) loader(client, receipts string, said *bytes.Buffer) *fhirIngestion {
	return &fhirIngestion{receipts: receipts, stdout: &bytes.Buffer{}, stderr: said, remote: &remote{
		server: strings.TrimSuffix(in.gateway.base, "/fhir"), scope: anyScope, http: in.http,
		tokens: &oauth.TokenSource{HTTP: in.http, TokenURL: in.gateway.tokenURL, ClientID: client, Key: in.keys[client], Now: in.clock.now}}}
}

// a chart as Synthea writes it: a transaction whose entries name each other by urn:uuid.
func chart(n int) []byte {
	urn := func(i int) string { return fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", i) }
	entries := []string{doing("POST", "Patient", urn(0), aPatient, "")}
	for i := 1; i <= n; i++ {
		entries = append(entries, doing("POST", "Condition", urn(i), about(urn(0)), ""))
	}
	return bundleOf("transaction", entries...)
}

// TestIngestFHIR: what files of every shape come to, what is said of a record that is refused, and that a second run
// sends nothing again.
func TestIngestFHIR(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		dir := t.TempDir()
		file := func(name, text string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		patient := func(id string) string {
			return `{"resourceType":"Patient","id":"` + id + `","name":[{"family":"Zqcanary"}]}`
		}
		files := []string{
			file("chart.json", string(chart(3))),
			file("one.json", "{\n \"resourceType\": \"Organization\", \"id\": \"I1\", \"type\": [{\"text\":\"x\"}], \"name\": \"One\"\n}\n"),
			file("lines.ndjson", patient("I2")+"\n\n{nonsense\n"+strings.Replace(patient("I3"), "family", "nonsense", 1)+"\n"+patient("I4")+"\n"),
			file("set.json", string(bundleOf("collection", `{"fullUrl":"http://x.example/fhir/Patient/I5","resource":`+patient("I5")+`}`))),
			file("linked.json", string(bundleOf("transaction", doing("POST", "Condition", "", about("Patient?identifier=urn:example:mrn|zqcanary-t"), "")))),
			file("history.json", string(bundleOf("history"))),
			file("cut.json", patient("I6")+` {"resourceType":`),
		}
		var said bytes.Buffer
		receipts := filepath.Join(dir, "receipts")
		run := in.loader("operator-loader", receipts, &said)
		if err := run.run(t.Context(), files); err != nil {
			t.Fatal(err)
		}
		if run.stored != 4+1+2+1+1+1 || run.refused != 4 {
			t.Errorf("%d stored, %d refused: %s", run.stored, run.refused, said.String())
		}
		for _, what := range []string{"lines.ndjson, record 3: the line is not JSON", "lines.ndjson, record 4: Bundle.entry[0].resource.Patient.name[0]", "history.json, record 1", "cut.json, record 2"} {
			if !strings.Contains(said.String(), what) {
				t.Errorf("nothing says %q: %s", what, said.String())
			}
		}
		if strings.Contains(strings.ToLower(said.String()), canary) {
			t.Errorf("a patient's value is in what was said: %s", said.String())
		}
		operator := in.as("operator", "")
		if got := operator.get("Condition?subject:Patient.identifier=zqcanary-t").bundle(t).references(); len(got) != 4 {
			t.Errorf("the chart's links: %v", got)
		}
		before := in.stored()
		again := in.loader("operator-loader", receipts, &said)
		if err := again.run(t.Context(), files); err != nil {
			t.Fatal(err)
		}
		if after := in.stored(); after["body"] != before["body"] {
			t.Errorf("a second run wrote: %v, then %v", before, after)
		}
		in.checkIndex()
	})
}

// TestIngestInParts: a transaction that is too large for one request arrives whole, its links intact, and the same parts
// sent again change nothing.
func TestIngestInParts(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		path := filepath.Join(t.TempDir(), "chart.json")
		if err := os.WriteFile(path, chart(40), 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		for range 2 {
			run := in.loader("operator-loader", "-", &said)
			run.most = 30
			if err := run.run(t.Context(), []string{path}); err != nil || run.stored != 41 || run.refused != 0 {
				t.Fatalf("%d stored, %d refused, %v: %s", run.stored, run.refused, err, said.String())
			}
		}
		refs := in.as("operator", "").get("Condition?_count=100&patient=00000000-0000-4000-8000-000000000000").bundle(t).references()
		if len(refs) != 40 || !slices.Contains(refs, "Condition/00000000-0000-4000-8000-000000000007") {
			t.Errorf("%d Conditions of the patient: %v", len(refs), refs)
		}
	})
}

// roundTrip answers requests without a network, so that the pauses between attempts cost no time.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// TestIngestStopsAtABusyServer: a server that stays busy says nothing about the records. None counts as refused, none
// gets a receipt, a collection is not taken apart, and the next run sends them.
func TestIngestStopsAtABusyServer(t *testing.T) {
	key, _, err := oauth.NewKey("c")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "set.json")
	set := bundleOf("collection", `{"resource":{"resourceType":"Organization","id":"B1","name":"One"}}`, `{"resource":{"resourceType":"Organization","id":"B2","name":"Two"}}`)
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		synctest.Test(t, func(t *testing.T) {
			sent := 0
			client := &http.Client{Transport: roundTrip(func(r *http.Request) *http.Response {
				answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
				body := `{"access_token":"t","token_type":"bearer","expires_in":300}`
				if r.URL.Path == "/fhir" {
					sent++
					answer.StatusCode, body = status, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled","diagnostics":"busy"}]}`
				}
				answer.Body = io.NopCloser(strings.NewReader(body))
				return answer
			})}
			var said, receipts bytes.Buffer
			in := &fhirIngestion{receipts: "-", stdout: &receipts, stderr: &said, remote: &remote{server: "https://gateway.example", http: client,
				tokens: &oauth.TokenSource{HTTP: client, TokenURL: "https://gateway.example/token", ClientID: "c", Key: key, Now: time.Now}}}
			err := in.run(context.Background(), []string{file})
			if err == nil || !strings.Contains(err.Error(), "run the same command again") {
				t.Errorf("%d: %v", status, err)
			}
			if in.refused != 0 || receipts.Len() != 0 || sent != sendAttempts {
				t.Errorf("%d: %d refused, sent %d times, receipts %q", status, in.refused, sent, receipts.String())
			}
		})
	}
}
