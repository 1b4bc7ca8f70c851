package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ownGuide is a package with a profile of Patient in two versions, its value set and its extension: as an archive and as a
// folder.
func ownGuide(t *testing.T) (archive, folder string) {
	t.Helper()
	named := func(version, element string) string {
		return `{"resourceType":"StructureDefinition","id":"named","url":"http://example.org/StructureDefinition/named","version":"` + version + `","name":"Named","status":"active","kind":"resource","abstract":false,
			"type":"Patient","derivation":"constraint","snapshot":{"element":[{"id":"Patient","path":"Patient","min":0,"max":"*"},` + element + `]}}`
	}
	files := map[string]string{
		"StructureDefinition-named-1.json": named("1.0.0", `{"id":"Patient.name","path":"Patient.name","min":1,"max":"*"}`),
		"StructureDefinition-named-2.json": named("2.0.0", `{"id":"Patient.maritalStatus","path":"Patient.maritalStatus","min":0,"max":"1","type":[{"code":"CodeableConcept"}],"binding":{"strength":"extensible","valueSet":"http://example.org/ValueSet/colours"}},
			{"id":"Patient.communication","path":"Patient.communication","min":0,"max":"*","binding":{"strength":"required","valueSet":"http://example.org/ValueSet/none"}},
			{"id":"Patient.gender","path":"Patient.gender","min":0,"max":"1","type":[{"code":"code"}],"binding":{"strength":"required","valueSet":"http://example.org/ValueSet/none"}}`),
		"ValueSet-colours.json":   `{"resourceType":"ValueSet","id":"colours","url":"http://example.org/ValueSet/colours","status":"active","compose":{"include":[{"system":"http://example.org/colours"}]}}`,
		"CodeSystem-colours.json": `{"resourceType":"CodeSystem","id":"colours","url":"http://example.org/colours","status":"active","content":"complete","concept":[{"code":"red"}]}`,
	}
	dir := t.TempDir()
	folder = filepath.Join(dir, "guide")
	if err := os.MkdirAll(filepath.Join(folder, "package"), 0o700); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	w := tar.NewWriter(zip)
	for name, doc := range files {
		if err := os.WriteFile(filepath.Join(folder, "package", name), []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: "package/" + name, Size: int64(len(doc)), Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	archive = filepath.Join(dir, "guide.tgz")
	if err := os.WriteFile(archive, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return archive, folder
}

func TestValidateCommand(t *testing.T) {
	archive, folder := ownGuide(t)
	dir := t.TempDir()
	file := func(name, doc string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const one = "http://example.org/StructureDefinition/named|1.0.0"
	good := file("good.json", `{"resourceType":"Patient","meta":{"profile":["`+one+`"]},"name":[{"family":"Zqcanary"}]}`)
	nameless := file("nameless.json", `{"resourceType":"Patient","meta":{"profile":["`+one+`"]},"id":"zqcanary","language":"zqcanary"}`)
	plain := file("plain.json", `{"resourceType":"Patient","maritalStatus":{"coding":[{"system":"http://example.org/colours","code":"zqcanary"}]},"gender":"female"}`)
	bundle := file("bundle.json", `{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient"}},{"resource":{"resourceType":"Basic","code":{"text":"Zqcanary"}}}]}`)
	lines := file("many.ndjson", `{"resourceType":"Patient","name":[{"family":"Zqcanary"}]}`+"\n"+`{"resourceType":"Patient"}`+"\n"+`{"resourceType":"Patient","gender":"zqcanary"}`+"\n")
	broken := file("broken.json", `{"resourceType":"Patient","zqcanary`)
	empty := file("empty.json", "")
	for name, c := range map[string]struct {
		args     []string
		status   int
		out, err string
	}{
		"good":            {[]string{"--package", archive, good}, 0, "1 checked: 0 error(s), 0 warning(s), 0 thing(s) could not be checked\n", ""},
		"a folder":        {[]string{good, "--package", folder}, 0, "1 checked: 0 error(s)", ""},
		"claimed":         {[]string{"--package", archive, nameless, good}, 1, "error        Patient.name: name is missing: the profile asks for at least 1 (Patient.name of " + one + ")", ""},
		"not held":        {[]string{nameless}, 0, "warning      Patient.meta.profile[0]: the profile is not known here", ""},
		"asked for":       {[]string{"--package", archive, "--profile", "http://example.org/StructureDefinition/named", plain}, 0, "warning      Patient.maritalStatus: maritalStatus should", ""},
		"not checked":     {[]string{"--package", archive, "--profile", "http://example.org/StructureDefinition/named", "--all", plain}, 0, "information  Patient.gender: it could not be checked", ""},
		"counted":         {[]string{"--package", archive, "--profile", "http://example.org/StructureDefinition/named", plain}, 0, "1 thing(s) could not be checked (--all lists it)", ""},
		"entries":         {[]string{"--package", archive, "--profile", one, bundle}, 1, "Bundle.entry[0].resource.name: name is missing", ""},
		"lines":           {[]string{"--package", archive, "--profile", one, lines}, 1, lines + ":2\n  error        Patient.name", ""},
		"R4":              {[]string{lines}, 1, lines + ":3\n  error        Patient.gender: code type mismatch (FHIR R4)", ""},
		"as JSON":         {[]string{"--json", "--package", archive, nameless}, 1, `"errors":1,"warnings":0,"notChecked":0}`, ""},
		"no file":         {nil, 2, "", "no file to check"},
		"a flag":          {[]string{"--nonsense", good}, 2, "", "Usage:"},
		"missing file":    {[]string{filepath.Join(dir, "none.json")}, 2, "", "no such file"},
		"missing package": {[]string{"--package", filepath.Join(dir, "none.tgz"), good}, 2, "", "no such file"},
		"no package":      {[]string{"--package", good, good}, 2, "", "not a FHIR package: it is not gzipped"},
		"nothing in it":   {[]string{"--package", t.TempDir(), good}, 2, "", "it holds no StructureDefinition"},
		"unknown profile": {[]string{"--package", archive, "--profile", "http://example.org/none", good}, 2, "", "is in none of the packages"},
		"not JSON":        {[]string{good, broken}, 2, "", "not well-formed JSON"},
		"empty":           {[]string{empty}, 2, "", "is empty"},
		"help":            {[]string{"--help"}, 0, "Examples:", ""},
	} {
		var out, errs bytes.Buffer
		status := run(append([]string{"validate"}, c.args...), &out, &errs)
		if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, c.status, out.String(), errs.String())
		}
		if strings.Contains(strings.ToLower(out.String()+errs.String()), "zqcanary") {
			t.Errorf("%s: a value is printed: %s%s", name, out.String(), errs.String())
		}
		if name == "as JSON" {
			var line struct {
				Errors   int
				Findings []struct{ Severity, Rule string }
			}
			if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Errors != 1 || len(line.Findings) != 1 || line.Findings[0].Rule != "Patient.name" {
				t.Errorf("as JSON: %v %s", err, out.String())
			}
		}
	}
}
