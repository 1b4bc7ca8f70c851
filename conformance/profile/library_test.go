package profile_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"trellis/conformance/profile"
	"trellis/fhir"
)

func TestVersions(t *testing.T) {
	c := checker(t, definition(t, "p", "6.1.0", "Patient", "Patient", "Patient.name 1..*"), definition(t, "p", "10.0.0", "Patient", "Patient", "Patient.telecom 1..*"),
		definition(t, "p", "7.0.0", "Patient", "Patient", `Patient.address {"type":[{"code":"Address","profile":["`+site+`a"]}]}`),
		definition(t, "a", "7.0.0", "Address", "Address", "Address.city 1..1"), definition(t, "a", "8.0.0", "Address", "Address", "Address.state 1..1"))
	for canonical, want := range map[string]string{
		site + "p":        "e required Patient.telecom Patient.telecom", // the latest: numbers count as numbers
		site + "p|6.1.0":  "e required Patient.name Patient.name",
		site + "p|10.0.0": "e required Patient.telecom Patient.telecom",
		site + "p|7.0.0":  "e required Patient.address[0].city Address.city", // what is released together belongs together
		site + "p|9.0.0":  "w not-supported",
		site + "q":        "w not-supported",
	} {
		if got := strings.Join(short(check(t, c, `{"resourceType":"Patient","address":[{"text":"Zqcanary"}]}`, canonical)), "; "); got != want {
			t.Errorf("%s: %s, want %s", canonical, got, want)
		}
	}
	if got := c.Library.Canonicals(); len(got) != 5 || got[0] != site+"a|7.0.0" {
		t.Errorf("held: %v", got)
	}
}

func TestRefusedDefinitions(t *testing.T) {
	raw := func(members string) *profile.Definition {
		return read(t, `{"resourceType":"StructureDefinition","url":"`+site+`p",`+members+`}`)
	}
	for name, c := range map[string]struct {
		list []*profile.Definition
		want string
	}{
		"neither":         {[]*profile.Definition{raw(`"type":"Patient"`)}, "neither a snapshot nor a differential"},
		"no type":         {[]*profile.Definition{raw(`"snapshot":{"element":[{"path":"Patient"}]}`)}, "which type"},
		"another FHIR":    {[]*profile.Definition{raw(`"type":"Patient","fhirVersion":"5.0.0","snapshot":{"element":[{"path":"Patient"}]}`)}, "another version of FHIR"},
		"two roots":       {[]*profile.Definition{raw(`"type":"Patient","snapshot":{"element":[{"path":"Patient"},{"path":"Patient"}]}`)}, "two roots"},
		"gap":             {[]*profile.Definition{raw(`"type":"Patient","snapshot":{"element":[{"path":"Patient"},{"path":"Patient.name.family"}]}`)}, "without the one above it"},
		"no path":         {[]*profile.Definition{raw(`"type":"Patient","snapshot":{"element":[{"id":"Patient"}]}`)}, "no path"},
		"unknown base":    {[]*profile.Definition{differential(t, "p", "Patient", site+"none", "Patient")}, "based on is not known here"},
		"unknown type":    {[]*profile.Definition{differential(t, "p", "Zq", "http://hl7.org/fhir/StructureDefinition/Zq", "Zq")}, "none of R4's"},
		"unknown element": {[]*profile.Definition{differential(t, "p", "Patient", "http://hl7.org/fhir/StructureDefinition/Patient", "Patient.zq")}, "does not have"},
		"below a choice":  {[]*profile.Definition{differential(t, "p", "Patient", "http://hl7.org/fhir/StructureDefinition/Patient", "Patient.deceased[x].id")}, "not one type"},
		"too much of it": {[]*profile.Definition{definition(t, "b", "1", "Questionnaire", "Questionnaire", "Questionnaire.item", "Questionnaire.item.text", `Questionnaire.item.item {"contentReference":"#Questionnaire.item"}`),
			differential(t, "p", "Questionnaire", site+"b", grown(20)...)}, "too many elements"},
		"too large a value": {[]*profile.Definition{definition(t, "p", "1", "Patient", "Patient", `Patient.maritalStatus {"patternCodeableConcept":{"coding":[`+strings.Repeat(`{"code":"M"},`, 1000)+`{"code":"M"}]}}`)}, "too large"},
		"too long a path":   {[]*profile.Definition{definition(t, "p", "1", "Patient", "Patient", "Patient."+strings.Repeat("a", 2000))}, "too large"},
		"standing on self":  {[]*profile.Definition{differential(t, "p", "Patient", site+"q", "Patient"), differential(t, "q", "Patient", site+"p", "Patient")}, "stands on itself"},
	} {
		c2 := checker(t, c.list...)
		_, err := c2.Library.Find(site + "p")
		var refused *profile.Refusal
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
			continue
		}
		got := check(t, c2, `{"resourceType":"Patient"}`, site+"p")
		if len(got) != 1 || got[0].Severity != "warning" || !strings.Contains(got[0].Text, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// grown are rows that go ever deeper into what repeats itself, and slice it on the way.
func grown(depth int) []string {
	var out []string
	path := "Questionnaire"
	for i := range depth {
		path += ".item"
		for j := range 20 {
			out = append(out, fmt.Sprintf("%s:s%d%d.text 1..1", path, i, j))
		}
	}
	return out
}

func TestDifferentials(t *testing.T) {
	const patient, extension = "http://hl7.org/fhir/StructureDefinition/Patient", "http://hl7.org/fhir/StructureDefinition/Extension"
	c := checker(t,
		differential(t, "base", "Patient", patient, "Patient", "Patient.name 1..*", "Patient.name.family 1..1", `Patient.identifier {"slicing":{"discriminator":[{"type":"value","path":"system"}],"rules":"open"}}`,
			"Patient.identifier:mrn 1..1", `Patient.identifier:mrn.system 1..1 {"fixedUri":"urn:mrn"}`, "Patient.contact.name 1..1", "Patient.deceasedBoolean 1..1"),
		differential(t, "top", "Patient", site+"base", "Patient", "Patient.birthDate 1..1", "Patient.identifier:mrn.value 1..1"),
		differential(t, "colour", "Extension", extension, "Extension", `Extension.url 1..1 {"fixedUri":"`+site+`colour"}`, `Extension.value[x] 1..1 {"type":[{"code":"code"}]}`),
		differential(t, "pair", "Extension", extension, "Extension", `Extension.extension {"slicing":{"discriminator":[{"type":"value","path":"url"}],"rules":"closed"}}`,
			"Extension.extension:one 1..1", `Extension.extension:one.url 1..1 {"fixedUri":"one"}`, `Extension.extension:one.value[x] 1..1 {"type":[{"code":"integer"}]}`, `Extension.url 1..1 {"fixedUri":"`+site+`pair"}`, "Extension.value[x] 0..0"),
		differential(t, "report", "Bundle", "http://hl7.org/fhir/StructureDefinition/Bundle", "Bundle", "Bundle.link.relation 1..1 {\"fixedString\":\"self\"}", "Bundle.entry.link.url 1..1 {\"fixedUri\":\"urn:x\"}"))
	for doc, want := range map[string]string{
		`{"resourceType":"Patient","deceasedBoolean":false,"name":[{"family":"Zqcanary"}],"identifier":[{"system":"urn:mrn"}]}`:                                                                                                                  "base ok",
		`{"resourceType":"Patient","contact":[{}],"identifier":[{"system":"urn:zqcanary"}]}`:                                                                                                                                                     "base e required Patient.identifier Patient.identifier:mrn; e required Patient.name Patient.name; e required Patient.deceased Patient.deceasedBoolean; e required Patient.contact[0].name Patient.contact.name",
		`{"resourceType":"Patient","deceasedBoolean":false,"name":[{"family":"Zqcanary"}],"identifier":[{"system":"urn:mrn"},{"system":"urn:other"}]}`:                                                                                           "top e required Patient.identifier[0].value Patient.identifier:mrn.value; e required Patient.birthDate Patient.birthDate",
		`{"resourceType":"Patient","extension":[{"url":"` + site + `colour","valueString":"zqcanary"}],"deceasedBoolean":false,"name":[{"family":"x"}],"identifier":[{"system":"urn:mrn"}]}`:                                                     "base e structure Patient.extension[0].value Extension.value[x]",
		`{"resourceType":"Patient","extension":[{"url":"` + site + `pair","extension":[{"url":"one","valueInteger":1}]}],"deceasedBoolean":false,"name":[{"family":"x"}],"identifier":[{"system":"urn:mrn"}]}`:                                   "base ok",
		`{"resourceType":"Patient","extension":[{"url":"` + site + `pair","extension":[{"url":"one","valueCode":"x"},{"url":"zqcanary","valueCode":"x"}]}],"deceasedBoolean":false,"name":[{"family":"x"}],"identifier":[{"system":"urn:mrn"}]}`: "base e structure Patient.extension[0].extension[1] Extension.extension; e structure Patient.extension[0].extension[0].value Extension.extension:one.value[x]",
		`{"resourceType":"Bundle","type":"searchset","link":[{"relation":"next","url":"urn:x"}],"entry":[{"link":[{"relation":"self","url":"urn:y"}]}]}`:                                                                                         "report e value Bundle.link[0].relation Bundle.link.relation; e value Bundle.entry[0].link[0].url Bundle.entry.link.url",
	} {
		name, want, _ := strings.Cut(want, " ")
		got := strings.Join(short(check(t, c, doc, site+name)), "; ")
		if want == "ok" {
			want = ""
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", doc, got, want)
		}
	}
}

// TestClaims checks what resources claim wherever they stand, and references by what a Bundle says of them.
func TestClaims(t *testing.T) {
	c := checker(t, definition(t, "p", "1", "Patient", "Patient", "Patient.name 1..*"), definition(t, "o", "1", "Observation", "Observation",
		`Observation.subject 1..1 {"type":[{"code":"Reference","targetProfile":["http://hl7.org/fhir/StructureDefinition/Patient"]}]}`))
	claim := func(profile string) string { return `"meta":{"profile":["` + profile + `"]}` }
	doc := `{"resourceType":"Bundle","type":"collection",` + claim("http://hl7.org/fhir/StructureDefinition/Bundle") + `,"entry":[
		{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient",` + claim(site+"p|1") + `}},
		{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Device","contained":[{"resourceType":"Patient","id":"x",` + claim(site+"p") + `}]}},
		{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"},` + claim(site+"o") + `}},
		{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:2"},` + claim(site+"o") + `}},
		{"resource":{"resourceType":"Observation",` + claim(site+"p") + `}},
		{"resource":{"resourceType":"Parameters","parameter":[{"name":"x","resource":{"resourceType":"Patient",` + claim("urn:unknown") + `}}]}}]}`
	want := []string{"e required Bundle.entry[0].resource.name Patient.name", "e required Bundle.entry[1].resource.contained[0].name Patient.name",
		"e structure Bundle.entry[3].resource.subject Observation.subject", "e invalid Bundle.entry[4].resource", "w not-supported Bundle.entry[5].resource.parameter[0].resource.meta.profile[0]"}
	if got := short(check(t, c, doc)); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	r, err := fhir.ReadTrusted([]byte(`{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Patient"}},{"resource":{"resourceType":"Device"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := short(c.CheckEach(context.Background(), r.Root, []string{site + "p"})); !slices.Equal(got, []string{"e required Bundle.entry[0].resource.name Patient.name"}) {
		t.Errorf("each: %v", got)
	}
}

// TestBounds holds the work of one check to its limits.
func TestBounds(t *testing.T) {
	c := checker(t, definition(t, "p", "1", "Patient", "Patient", "Patient.name", "Patient.name.family 1..1"),
		definition(t, "loop", "1", "Patient", `Patient`, `Patient.contained {"type":[{"code":"Resource","profile":["`+site+`loop"]}]}`, `Patient.link {"type":[{"code":"BackboneElement"}]}`))
	got := check(t, c, `{"resourceType":"Patient","name":[`+strings.Repeat(`{},`, 1000)+`{}]}`, site+"p")
	if len(got) != 501 || got[500].Code != "too-costly" {
		t.Errorf("%d findings", len(got))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := fhir.ReadTrusted([]byte(`{"resourceType":"Patient"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Check(ctx, r.Root, []string{site + "p"}); len(got) != 1 || got[0].Code != "too-costly" {
		t.Errorf("nobody waits: %v", got)
	}
	rows := []string{"Patient", `Patient.name {"slicing":{"discriminator":[{"type":"value","path":"use"}],"rules":"open"}}`}
	for i := range 2000 {
		rows = append(rows, fmt.Sprintf("Patient.name:s%d", i), fmt.Sprintf(`Patient.name:s%d.use {"fixedCode":"u%d"}`, i, i))
	}
	rules := make([]string, 500)
	for i := range rules {
		rules[i] = fmt.Sprintf(`{"key":"k%d","severity":"error","human":"x","expression":"extension.count() < %d"}`, i, i+1)
	}
	slow := checker(t, definition(t, "slices", "1", "Patient", rows...), definition(t, "rules", "1", "Patient", `Patient {"constraint":[`+strings.Join(rules, ",")+`]}`))
	for _, name := range []string{"slices", "rules"} {
		r, err := fhir.ReadTrusted([]byte(`{"resourceType":"Patient","name":[` + strings.Repeat(`{"use":"home"},`, 3000) + `{}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := slow.Library.Find(site + name); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		got := slow.Check(ctx, r.Root, []string{site + name})
		cancel()
		if took := time.Since(began); took > 2*time.Second || len(got) == 0 || got[len(got)-1].Code != "too-costly" {
			t.Errorf("%s: ended after %v with %d findings", name, took, len(got))
		}
	}
	deep := `{"resourceType":"Patient"`
	for range 28 {
		deep += `,"contained":[{"resourceType":"Patient"`
	}
	deep += strings.Repeat("}]", 28) + "}"
	if got := check(t, c, deep, site+"loop"); len(got) != 0 {
		t.Errorf("deep: %v", got)
	}
}

func TestPackages(t *testing.T) {
	const structure, index = `{"resourceType":"StructureDefinition","url":"urn:x","type":"Patient"}`, `{"index-version":2}`
	pack := func(files map[string]string) []byte {
		var out bytes.Buffer
		zip := gzip.NewWriter(&out)
		w := tar.NewWriter(zip)
		for _, name := range slices.Sorted(mapKeys(files)) {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(files[name])); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), zip.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	good := pack(map[string]string{"package/StructureDefinition-x.json": structure, "package/.index.json": index, "package/package.json": index, "package/readme.md": "x",
		"package/example/Patient-x.json": `{"resourceType":"ValueSet"}`, "package/Patient-y.json": `{"resourceType":"Patient"}`, "package/ValueSet-z.json": `{"resourceType":"ValueSet"}`})
	for name, c := range map[string]struct {
		doc  []byte
		want string
	}{
		"good":    {good, "[StructureDefinition ValueSet]"},
		"no gzip": {[]byte("zqcanary"), "it is not gzipped"},
		"cut off": {good[:len(good)/2], "the archive is damaged"},
		"broken":  {pack(map[string]string{"package/StructureDefinition-x.json": `{"resourceType":"zqcanary"`}), "StructureDefinition-x.json is no FHIR resource"},
		"nothing": {pack(map[string]string{"package/package.json": index}), "it holds no StructureDefinition"},
	} {
		list, err := profile.ReadArchive(bytes.NewReader(c.doc))
		var types []string
		for _, r := range list {
			types = append(types, r.Type)
		}
		if got := fmt.Sprint(types, err); !strings.Contains(got, c.want) || err != nil && !errors.Is(err, profile.ErrPackage) || strings.Contains(got, "zqcanary") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, files := range map[string]fstest.MapFS{
		"unpacked": {"package/StructureDefinition-x.json": {Data: []byte(structure)}, "package/other/ValueSet-x.json": {Data: []byte("{")}},
		"a folder": {"mine.json": {Data: []byte(structure)}, "notes.txt": {Data: []byte("x")}},
	} {
		if list, err := profile.ReadFolder(files); err != nil || len(list) != 1 {
			t.Errorf("%s: %v %v", name, list, err)
		}
	}
	if _, err := profile.ReadFolder(fstest.MapFS{}); !errors.Is(err, profile.ErrPackage) {
		t.Errorf("an empty folder: %v", err)
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// FuzzCheck gives the checker definitions and resources nobody wrote: it must come back, within its limits and without a value of
// the resource in what it says.
func FuzzCheck(f *testing.F) {
	f.Add(`"snapshot":{"element":[{"path":"Patient"},{"path":"Patient.name","min":1,"constraint":[{"key":"x","severity":"error","human":"x","expression":"family.exists()"}]}]}`, `"name":[{"text":"x"}]`)
	f.Add(`"baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient","differential":{"element":[{"id":"Patient.identifier:a.type.coding.code","path":"Patient.identifier.type.coding.code","fixedCode":"x"}]}`, `"identifier":[{"type":{"coding":[{"code":"y"}]}}]`)
	f.Add(`"baseDefinition":"`+site+`p","differential":{"element":[{"path":"Patient.extension","slicing":{"rules":"closed","discriminator":[{"type":"profile","path":"resolve().extension('x').ofType(y)"}]}},{"path":"Patient.extension","sliceName":"a/b"}]}`, `"extension":[{"url":"`+site+`p"}]`)
	f.Add(`"snapshot":{"element":[{"path":"Patient"},{"path":"Patient.contact","contentReference":"#Patient.contact","maxLength":-1,"max":"-7","minValueInteger":1e999}]}`, `"contact":[{"contact":[{}]}],"_birthDate":[null,{"extension":1}]`)
	f.Add(`"snapshot":{"element":[{"path":"Patient"},{"path":"Patient.deceased[x]","slicing":{"rules":"closed"}},{"path":"Patient.deceased[x]","sliceName":"b","patternX":[[]]}]}`, `"deceasedBoolean":true,"_deceasedBoolean":{"id":"1"}`)
	f.Fuzz(func(t *testing.T, structure, members string) {
		sd, err := fhir.ReadTrusted([]byte(`{"resourceType":"StructureDefinition","url":"` + site + `p","type":"Patient",` + structure + `}`))
		if err != nil {
			t.Skip()
		}
		r, err := fhir.ReadTrusted([]byte(`{"resourceType":"Patient","language":"zqcanary","meta":{"profile":["` + site + `p"]}` + comma(members) + `}`))
		if err != nil {
			t.Skip()
		}
		if strings.Contains(structure, "zqcanary") {
			t.Skip()
		}
		start := time.Now()
		got := checker(t, profile.ReadDefinition(sd)).Check(context.Background(), r.Root, []string{site + "p"})
		if len(got) > 3*501+1 {
			t.Fatalf("%d findings", len(got))
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("it takes %s", took)
		}
		for _, f := range got {
			if strings.Contains(f.Sentence(), "zqcanary") {
				t.Fatal("a value is repeated")
			}
		}
	})
}

// TestTogether is for the race detector: one checker serves every request.
func TestTogether(t *testing.T) {
	c := checker(t, differential(t, "p", "Patient", "http://hl7.org/fhir/StructureDefinition/Patient", "Patient", `Patient.name 1..* {"constraint":[{"key":"x","severity":"error","human":"x","expression":"family.matches('^[a-z]+$')"}]}`))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if got := short(check(t, c, `{"resourceType":"Patient","name":[{"family":"1"}]}`, site+"p")); !slices.Equal(got, []string{"e invariant Patient.name[0] x"}) {
					t.Error(got)
				}
			}
		})
	}
	all.Wait()
}
