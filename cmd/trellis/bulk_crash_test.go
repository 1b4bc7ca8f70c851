package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// crashConditions is how many records the test loads.
const crashConditions = 3000

// operatorOf is the demonstration's operator.
func operatorOf(t *testing.T, dir, addr string) *remote {
	t.Helper()
	file, err := readClients(filepath.Join(dir, clientsName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.client("operator")
	if err != nil {
		t.Fatal(err)
	}
	return newRemote("http://"+addr, file.TokenEndpoint, c)
}

// found counts what a query finds; ready is false while its parameter is being indexed, and anything else is a fault.
func found(t *testing.T, r *remote, query string) (n int64, ready bool) {
	t.Helper()
	a, err := r.do(context.Background(), "GET", "/fhir/"+query, "", nil)
	var refused *errRefused
	if errors.As(err, &refused) && refused.status == http.StatusServiceUnavailable {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	var b struct{ Total int64 }
	if err := json.Unmarshal(a.body, &b); err != nil {
		t.Fatal(err)
	}
	return b.Total, true
}

// TestKilledDuringLoadAndReindex: kill -9 during a load with a custom parameter, and again just after another one was
// defined. The load is taken up; the parameter answers with an error until it can answer with everything; the index
// equals the recomputed one.
func TestKilledDuringLoadAndReindex(t *testing.T) {
	dir := t.TempDir()
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	var lines bytes.Buffer
	for i := range crashConditions {
		fmt.Fprintf(&lines, `{"resourceType":"Condition","id":"crash-%d","subject":{"reference":"Patient/crash-%d"},"code":{"text":"Wordy"}}`+"\n", i, i%50)
	}
	records := filepath.Join(dir, "conditions.ndjson")
	if err := os.WriteFile(records, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := demoProcess(t, dir, addr)
	stop := func() {
		if err := server.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := server.Wait(); err == nil {
			t.Error("the server was not killed")
		}
	}
	define := func(id string) {
		if _, err := operatorOf(t, dir, addr).do(t.Context(), "PUT", "/fhir/SearchParameter/"+id, "application/fhir+json", custom(id, id, "Condition.code.text", "active")); err != nil {
			t.Fatal(err)
		}
	}
	define("wordy")
	args := []string{"--server", "http://" + addr, "--clients", filepath.Join(dir, clientsName), "--as", "operator", "--fhir", records}
	receipts := &countingWriter{past: 5, at: stop}
	if code := runIngest(args, receipts, io.Discard); code != 2 {
		t.Fatalf("an ingest whose server was killed ended with %d", code)
	}
	server = demoProcess(t, dir, addr)
	if code := runIngest(args, io.Discard, io.Discard); code != 0 {
		t.Fatalf("taking the ingest up again ended with %d", code)
	}
	define("wordier")
	stop()
	server = demoProcess(t, dir, addr)
	client := operatorOf(t, dir, addr)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for _, id := range []string{"wordy", "wordier"} {
		for ready := false; !ready; {
			var n int64
			if n, ready = found(t, client, "Condition?_summary=count&"+id+"=wordy"); ready && n != crashConditions {
				t.Fatalf("%s finds %d of %d", id, n, crashConditions)
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s does not get ready", id)
			}
		}
	}
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
	wholeAfterCrash(t, dir)
}
