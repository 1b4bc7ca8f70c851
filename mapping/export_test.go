package mapping

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"trellis/fhir"
)

// Everything that packs export is R4, has ids of its own, and is the same each time.
func TestExportsAreR4(t *testing.T) {
	parser, err := fhir.NewParser()
	if err != nil {
		t.Fatal(err)
	}
	names, err := Names(Packs())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p := load(t, name)
		for kind, export := range map[string]func(string) ([]Exported, error){
			"ConceptMap": p.ConceptMaps, "StructureMap": p.StructureMaps, "Questionnaire": p.Questionnaires,
		} {
			list, err := export("https://trellis.example/fhir")
			if kind == "Questionnaire" && !strings.Contains(name, "screening") && name != "ny-1115-ahc-hrsn" {
				if !errors.Is(err, ErrNoForm) {
					t.Errorf("%s %s: %v", name, kind, err)
				}
				continue
			}
			if err != nil || len(list) == 0 {
				t.Errorf("%s %s: %d, %v", name, kind, len(list), err)
			}
			again, err := export("https://trellis.example/fhir")
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for i, one := range list {
				r, err := parser.Parse(one.JSON)
				if err != nil {
					t.Errorf("%s %s: %v\n%.2000s", name, one.ID, err, one.JSON)
					continue
				}
				if r.Type != kind || r.ID != one.ID || seen[one.ID] || string(again[i].JSON) != string(one.JSON) {
					t.Errorf("%s: %s/%s", name, r.Type, r.ID)
				}
				seen[one.ID] = true
			}
		}
	}
}

// one finds an exported resource and decodes it.
func one(t *testing.T, list []Exported, err error, id string, into any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.ID == id {
			if err := json.Unmarshal(e.JSON, into); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no %s", id)
}

func TestConceptMap(t *testing.T) {
	var got struct {
		URL   string
		Group []struct {
			Source, Target string
			Element        []struct {
				Code   string
				Target []struct{ Code, Equivalence string }
			}
			Unmapped struct{ Mode, Code string }
		}
	}
	list, err := load(t, "peer-encounter").ConceptMaps("https://trellis.example/fhir")
	one(t, list, err, "peer-encounter-place-class", &got)
	if got.URL != "https://trellis.example/fhir/ConceptMap/peer-encounter-place-class" || len(got.Group) != 1 {
		t.Fatalf("%+v", got)
	}
	g := got.Group[0]
	pairs := ""
	for _, e := range g.Element {
		pairs += e.Code + " " + e.Target[0].Equivalence + " " + e.Target[0].Code + "\n"
	}
	if !strings.Contains(pairs, "office equal AMB\nrecovery-center relatedto AMB\n") {
		t.Errorf("pairs\n%s", pairs)
	}
	// The fallback of the table's one use is a code of another system than the group's.
	if g.Unmapped.Mode != "" {
		t.Errorf("unmapped %+v", g.Unmapped)
	}
	list, err = load(t, "ny-1115-ahc-hrsn").ConceptMaps("https://trellis.example/fhir")
	one(t, list, err, "ny-1115-ahc-hrsn-encounter-status", &got)
	if u := got.Group[0].Unmapped; u.Mode != "fixed" || u.Code != "unknown" {
		t.Errorf("unmapped %+v", u)
	}
}

func TestConceptMapOfOpenRows(t *testing.T) {
	files := strictPack("Observation", "", "status: final\ncode: {$code: kind, via: kind}")
	replace(files, "tiny/codes/kind.csv", "b,http://hl7.org/fhir/observation-status,amended,,both,", "b,,,,todo,\n,http://x,back,,out,")
	delete(files, "tiny/codes/wrong.csv")
	p, err := Load(files, "tiny")
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.ConceptMaps("https://trellis.example/fhir")
	if err != nil || len(list) != 1 {
		t.Fatal(err)
	}
	text := string(list[0].JSON)
	if !strings.Contains(text, `"equivalence":"unmatched"`) || !strings.Contains(text, "1 code(s) that are only turned back") || strings.Contains(text, `"back"`) {
		t.Errorf("%s", text)
	}
}

func TestStructureMap(t *testing.T) {
	var got struct {
		Structure []struct{ URL, Mode, Alias string }
		Group     []struct {
			Name  string
			Input []struct{ Name, Mode string }
		}
	}
	list, err := load(t, "peer-encounter").StructureMaps("https://trellis.example/fhir")
	one(t, list, err, "peer-encounter", &got)
	groups := ""
	for _, g := range got.Group {
		groups += g.Name + " "
	}
	if !strings.HasPrefix(groups, "record make-patient") && !strings.Contains(groups, "make-encounter make-activity") {
		t.Errorf("groups %s", groups)
	}
	text := string(list[0].JSON)
	for _, want := range []string{
		`"transform":"translate"`, `"valueString":"https://trellis.example/fhir/ConceptMap/peer-encounter-session-status"`,
		"when CEL: record.status == 'no-show'", `"valueString":"https://trellis.example/fhir/StructureDefinition/billing-units"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s", want)
		}
	}
	// Every variable that is used is one that an input, source or target declares.
	declared := map[string]bool{}
	for _, m := range regexp.MustCompile(`"(?:variable|name)":"([^"]+)"`).FindAllStringSubmatch(text, -1) {
		declared[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`"(?:valueId|context)":"([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if !declared[m[1]] {
			t.Errorf("variable %s is not declared", m[1])
		}
	}
}

func TestQuestionnaire(t *testing.T) {
	var got struct {
		Contained []struct{ ID string }
		Item      []struct {
			LinkID       string `json:"linkId"`
			Type         string
			Repeats      bool
			AnswerOption []struct{ ValueCoding struct{ Code string } }
		}
	}
	list, err := load(t, "sdoh-screening").Questionnaires("https://trellis.example/fhir")
	one(t, list, err, "sdoh-screening-hunger-vital-sign", &got)
	if len(got.Item) != 2 || got.Item[0].LinkID != "/88122-7" || got.Item[0].Type != "choice" || len(got.Contained) != 2 {
		t.Fatalf("%+v", got)
	}
	codes := ""
	for _, o := range got.Item[0].AnswerOption {
		codes += o.ValueCoding.Code + " "
	}
	if codes != "LA28397-0 LA6729-3 LA28398-8 LA15775-2 " {
		t.Errorf("answers %s", codes)
	}
	one(t, list, err, "sdoh-screening-ahc-hrsn-core", &got)
	multi, number := false, false
	for _, item := range got.Item {
		multi = multi || item.Repeats
		number = number || item.Type == "decimal"
	}
	if !multi || !number {
		t.Errorf("repeats %v, decimal %v", multi, number)
	}
}
