package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

func TestTallyQuantiles(t *testing.T) {
	var s tally
	for i := 100; i > 0; i-- {
		s.add(tally{n: 1, elapsed: 10 * time.Millisecond, latencies: []time.Duration{time.Duration(i) * time.Millisecond}})
	}
	if s.quantile(0.5) != 51*time.Millisecond || s.quantile(0.99) != 100*time.Millisecond || s.rate() != 100 {
		t.Errorf("p50 %v, p99 %v, rate %v", s.quantile(0.5), s.quantile(0.99), s.rate())
	}
	if (tally{}).quantile(0.5) != 0 || (tally{}).rate() != 0 {
		t.Error("an empty tally is not zero")
	}
}

func TestBenchFlags(t *testing.T) {
	for _, args := range [][]string{{"--stores", "oracle"}, {"--patients", "2"}, {"--clients", "0"}, {"--growth", "many"}, {"--seconds", "0"}} {
		if code := runBench(args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%v: status %d", args, code)
		}
	}
}

// A whole run on SQLite, far too short to say anything about speed: answers are compared byte for byte and
// any error ends it.
func TestBenchRun(t *testing.T) {
	f := benchFlags{stores: "sqlite", patients: 9, clients: 4, growth: "3,9", seconds: 0.2}
	var out, log bytes.Buffer
	b, err := f.bench(&log)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := f.run(t.Context(), b)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if err := writeReport(&out, machine(b), rows, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"read by id", "patient-compartment search", "consent on / off", "audit on / off", "| create", "transaction of 20", "KB/resource", "growth", "mapping engine", "token endpoint", "checking a token", "deciding, the function alone", "/consent/decide", "a consent changes", "100 consent(s)", "partners"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no row %q in\n%s", want, out.String())
		}
	}
}
