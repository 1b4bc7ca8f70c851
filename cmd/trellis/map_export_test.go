package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"trellis/fhir"
)

func TestMapExport(t *testing.T) {
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	own := ownPacks(t, "ours", unchanged)
	tests := []struct {
		name     string
		args     []string
		status   int
		typ      string // resource type of what is printed
		out, err string
	}{
		{"concept maps", []string{"--pack", "peer-encounter", "--conceptmap"}, 0, "Bundle", `"fullUrl": "https://trellis.example/fhir/ConceptMap/peer-encounter-activity"`, ""},
		{"structure map", []string{"--pack", "recovery-plan", "--structuremap"}, 0, "StructureMap", `"make-goal"`, ""},
		{"forms", []string{"--pack", "sdoh-screening", "--sdc", "--base", "https://our.example/fhir/"}, 0, "Bundle", `"https://our.example/fhir/Questionnaire/sdoh-screening-ahc-hrsn-core"`, ""},
		{"several", []string{"--pack", "ny-1115-ahc-hrsn", "--structuremap", "--sdc", "--conceptmap"}, 0, "Bundle", `"Questionnaire"`, ""},
		{"own pack", []string{"--packs", own, "--pack", "ours", "--structuremap"}, 0, "StructureMap", `"id": "ours-peer-encounter"`, ""},
		{"no form", []string{"--pack", "peer-encounter", "--sdc"}, 1, "", "", "the pack is no screening pack"},
		{"files", []string{"--pack", "sdoh-screening", "--sdc", "--out", filepath.Join(dir, "forms")}, 0, "", "Questionnaire-sdoh-screening-hunger-vital-sign.json", ""},
		{"no kind", []string{"--pack", "peer-encounter"}, 2, "", "", "--conceptmap"},
		{"no pack", []string{"--conceptmap"}, 2, "", "", "--pack"},
		{"unknown pack", []string{"--pack", "nope", "--conceptmap"}, 2, "", "", "nope/pack.yaml: cannot be read"},
		{"help", []string{"--help"}, 0, "", "Examples:", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := runMap(append([]string{"export"}, tt.args...), &out, &errs); got != tt.status {
				t.Errorf("status %d, want %d\n%s", got, tt.status, errs.String())
			}
			if !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.err) {
				t.Errorf("want %q and %q in\n%.1500s\n%s", tt.out, tt.err, out.String(), errs.String())
			}
			if tt.typ == "" {
				return
			}
			r, err := parser.Parse(out.Bytes())
			if err != nil || r.Type != tt.typ {
				t.Errorf("%v", err)
			}
		})
	}
	data, err := os.ReadFile(filepath.Join(dir, "forms", "Questionnaire-sdoh-screening-hunger-vital-sign.json"))
	if err != nil || !json.Valid(data) {
		t.Error(err)
	}
}
