package mapping

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// problemsOf are the problems of a code, as file:row:column.
func problemsOf(res *Result, code string) []string {
	var out []string
	for _, pr := range res.Report.Problems {
		if pr.Code == code {
			out = append(out, pr.File+":"+itoa(pr.Row)+":"+pr.Column)
		}
	}
	return out
}

// Two visits of one person at one facility have one key, and their flags may differ: then neither is taken, and what is not known
// to be unprotected is protected.
func TestFlagsThatDifferProtect(t *testing.T) {
	p := load(t, "ny-1115-ahc-hrsn")
	files := cleanFiles(t)
	rows := bytes.Split(bytes.TrimSpace(files[1].Data), []byte("\n"))
	for _, second := range []string{"No|No|No", "Yes|No|No"} {
		files[1].Data = bytes.Join([][]byte{rows[0], rows[1], bytes.Replace(rows[1], []byte("No|No|No"), []byte(second), 1)}, []byte("\n"))
		res, err := p.MapFiles(testEnv(false), files)
		if err != nil {
			t.Fatal(err)
		}
		want, reported := "", 0
		if second != "No|No|No" {
			want, reported = "42CFRPart2 SUD", 1
		}
		if got := labelsOf(res, "M1|F1|E1")["encounter"]; got != want {
			t.Errorf("with %s the visit is labelled %q, want %q", second, got, want)
		}
		if got := problemsOf(res, "rows-differ"); len(got) != reported || reported > 0 && got[0] != "visits.csv:3:VISIT_PART_2_FLAG" {
			t.Errorf("with %s: %v", second, got)
		}
	}
}

// Rows that nothing carries unless they are joined, and further rows of a record that is made of its first, are reported.
func TestRowsThatAreNotRead(t *testing.T) {
	p := load(t, "hmis-csv")
	res, err := p.MapFiles(testEnv(false), []File{
		{"p", []byte("ProjectID,OrganizationID,ProjectName,TargetPopulation\nP1,O1,A,4\nP1,O1,B,4\n")},
		{"c", []byte("PersonalID,NameDataQuality,DOBDataQuality\nC1,99,99\n")},
		{"e", []byte("EnrollmentID,PersonalID,ProjectID,EntryDate\nE1,C1,P1,2025-01-01\n")},
		{"x", []byte("ExitID,EnrollmentID,PersonalID,ExitDate,Destination\nX1,E1,C1,2025-02-01,410\nX2,E9,C1,2025-02-01,410\nX3,E1,C1,2025-03-01,410\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := problemsOf(res, "row-alone"); len(got) != 1 || !strings.HasPrefix(got[0], "x:3:") {
		t.Errorf("alone: %v", got)
	}
	if got, want := problemsOf(res, "rows-differ"), []string{"p:3:ProjectName", "x:4:ExitDate", "x:4:ExitID"}; !slices.Equal(got, want) {
		t.Errorf("differing: %v, want %v", got, want)
	}
}

// A column is named as the source names it, signs and all, in problems and in lineage.
func TestColumnsKeepTheirNames(t *testing.T) {
	pack := fstest.MapFS{
		"log/pack.yaml":       {Data: []byte("pack: log\nversion: 1.0.0\ntitle: T\nsource: s\nformat: csv\nfiles:\n  - {name: sheet, schema: log.schema.json}\nrecords:\n  - {map: log.map.yaml, from: sheet, group: [ID]}\n")},
		"log/log.schema.json": {Data: []byte(`{"type": "object", "required": ["ID"], "properties": {"ID": {"type": "string"}, "AA/NA~": {"type": "string"}}}`)},
		"log/log.map.yaml": {Data: []byte("map: log\nversion: 1.0.0\nkey: sheet.ID\nemit:\n  - resource: Observation\n    slot: it\n    main: true\n    set:\n" +
			"      status: final\n      code: {text: Meetings}\n      valueInteger: {$copy: sheet.AA/NA~, as: integer}\n")},
	}
	p, err := Load(pack, "log")
	if err != nil {
		t.Fatal(err)
	}
	env := testEnv(false)
	env.Lineage = true
	res, err := p.MapFiles(env, []File{{"f", []byte("ID,AA/NA~\n1,5\n2,many\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if got := problemsOf(res, "bad-value"); len(got) != 1 || got[0] != "f:3:AA/NA~" {
		t.Errorf("problems: %v", got)
	}
	if list := res.Records[0].Resources[0].Lineage; !slices.ContainsFunc(list, func(l Lineage) bool { return l.Source == "f:2:AA/NA~" }) {
		t.Errorf("lineage: %+v", list)
	}
}

// A person by themselves comes back, though nothing but the Patient tells of them.
func TestPersonByThemselvesComesBack(t *testing.T) {
	for pack, file := range map[string]string{
		"hmis-csv":         "PersonalID,FirstName,NameDataQuality,DOBDataQuality\nC1,Ada,1,99\n",
		"ny-1115-ahc-hrsn": "PAT_MRN_ID|FACILITY_ID|FIRST_NAME\nM1|F1|Ada\n",
	} {
		trip, err := load(t, pack).GoRound(testEnv(false), []File{{Name: "f", Data: []byte(file)}})
		if err != nil || trip.Records != 1 || !trip.Whole() {
			t.Errorf("%s: %+v %v", pack, trip, err)
		}
	}
}
