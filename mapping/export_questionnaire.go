package mapping

import (
	"errors"
	"slices"
	"strings"
)

// What the Structured Data Capture guide calls template-based extraction.
// https://build.fhir.org/ig/HL7/sdc/extraction.html#template-extract
const (
	sdohCategory    = "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes"
	sdcProfile      = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-extr-template"
	sdcExtract      = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-templateExtract"
	sdcExtractValue = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-templateExtractValue"
)

// ErrNoForm says that a pack has no instrument to make a Questionnaire of.
var ErrNoForm = errors.New("the pack is no screening pack: a Questionnaire is made of a code table of questions (instrument|question) " +
	"and one of their answers (instrument|question|answer), which the pack has not")

// Questionnaires gives a screening pack's instruments as Questionnaires with templates for SDC extraction, one each:
// an item for every question, and a contained Observation that its answer becomes. They hold our short labels and
// never an instrument's wording; a form for people needs the wording from the instrument's owner. ErrNoForm is for
// packs that are no screening packs.
func (p *Pack) Questionnaires(base string) ([]Exported, error) {
	e := &exporter{p, base}
	questions, answers, instruments := e.forms()
	if questions == nil || answers == nil {
		return nil, ErrNoForm
	}
	var names []string
	for _, row := range questions.list {
		instrument, _, _ := strings.Cut(row.native, "|")
		if !slices.Contains(names, instrument) {
			names = append(names, instrument)
		}
	}
	var out []Exported
	for _, name := range names {
		one, err := exported(e.formID(name), e.form(name, questions, answers, instruments))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (e *exporter) formID(instrument string) string { return ident(e.p.Name + "-" + instrument) }

// forms finds the tables of questions, answers and instruments by the parts of the native values they are asked for.
func (e *exporter) forms() (questions, answers, instruments *table) {
	for _, m := range e.p.maps {
		for i := range m.emissions {
			each(m.emissions[i].set, func(n node) {
				code, ok := n.(*codeNode)
				if !ok || m.emissions[i].resource != "Observation" {
					return
				}
				switch {
				case len(code.from) == 2 && questions == nil:
					questions = code.via
				case len(code.from) == 3 && answers == nil:
					answers = code.via
				case len(code.from) == 1 && code.as == "concept":
					instruments = code.via
				}
			})
		}
	}
	return questions, answers, instruments
}

func (e *exporter) form(instrument string, questions, answers, instruments *table) doc {
	title, code := instrument, []doc(nil)
	if instruments != nil {
		if row := instruments.rows[instrument]; row != nil {
			code = []doc{e.codingOf(row)}
			if row.text != "" {
				title = row.text
			}
		}
	}
	var contained, items []doc
	for _, q := range questions.list {
		if of, _, _ := strings.Cut(q.native, "|"); of != instrument || q.direction != "both" {
			continue
		}
		template := "obs-" + ident(q.code)
		contained = append(contained, e.template(template, q, questions))
		items = append(items, e.item(template, q, questions, answers))
	}
	out := e.head("Questionnaire", e.formID(instrument), title)
	head := append(doc{out[0], out[1], {"meta", doc{{"profile", []string{sdcProfile}}}}, {"contained", contained}}, out[2:]...)
	return append(head,
		member{"subjectType", []string{"Patient"}},
		member{"description", "Made from the code tables of " + e.p.Name + ". Labels are ours: the instrument's wording is its owner's."},
		member{"code", code}, member{"item", items})
}

func (e *exporter) codingOf(row *tableRow) doc {
	return doc{{"system", e.system(row)}, {"code", row.code}, {"display", row.display}}
}

func isNumber(q *tableRow, t *table) bool { return t.cell(q.native, "kind") == "number" }

// item is one question with the answers that its instrument offers.
func (e *exporter) item(template string, q *tableRow, questions, answers *table) doc {
	text := q.text
	if text == "" {
		text = q.display
	}
	out := doc{
		{"extension", []doc{{{"extension", []doc{{{"url", "template"}, {"valueReference", doc{{"reference", "#" + template}}}}}}, {"url", sdcExtract}}}},
		{"linkId", "/" + q.code}, {"code", []doc{e.codingOf(q)}}, {"text", text},
	}
	if isNumber(q, questions) {
		return append(out, member{"type", "decimal"})
	}
	var options []doc
	for _, a := range answers.list {
		if a.direction != "both" || !strings.HasPrefix(a.native, q.native+"|") {
			continue
		}
		coding := e.codingOf(a)
		if a.display == "" {
			coding[2].value = a.text
		}
		options = append(options, doc{{"valueCoding", coding}})
	}
	out = append(out, member{"type", "choice"})
	if questions.cell(q.native, "kind") == "multi" {
		out = append(out, member{"repeats", true})
	}
	return append(out, member{"answerOption", options})
}

// template is the Observation that the answer to a question becomes; the extensions say what is filled in.
func (e *exporter) template(id string, q *tableRow, questions *table) doc {
	filled := func(expression string) []doc {
		return []doc{{{"url", sdcExtractValue}, {"valueString", expression}}}
	}
	category := []doc{{{"coding", []doc{{{"system", "http://terminology.hl7.org/CodeSystem/observation-category"}, {"code", "survey"}}}}}}
	for i, column := range []string{"category1", "category2"} {
		domain := questions.cell(q.native, column)
		if domain == "" {
			break
		}
		if i == 0 {
			category = append(category, doc{{"coding", []doc{{{"system", "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"}, {"code", "sdoh"}}}}})
		}
		category = append(category, doc{{"coding", []doc{{{"system", sdohCategory}, {"code", domain}}}}})
	}
	out := doc{
		{"resourceType", "Observation"}, {"id", id}, {"status", "final"}, {"category", category},
		{"code", doc{{"coding", []doc{e.codingOf(q)}}, {"text", q.text}}},
		{"subject", doc{{"_reference", doc{{"extension", filled("%resource.subject.reference")}}}}},
		{"_effectiveDateTime", doc{{"extension", filled("%resource.authored")}}},
	}
	if !isNumber(q, questions) {
		return append(out, member{"valueCodeableConcept", doc{{"coding", []doc{{{"extension", filled("answer.value")}}}}}})
	}
	return append(out, member{"valueQuantity", doc{
		{"_value", doc{{"extension", filled("answer.value")}}}, {"system", ucum}, {"code", questions.cell(q.native, "unit")},
	}})
}
