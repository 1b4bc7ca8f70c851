package mapping

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// responses lets a pack of screenings take FHIR QuestionnaireResponses beside its own records: pack.yaml says
//
//	accepts: questionnaire-response
//
// and the pack has the tables instrument (with a column questionnaire), question (native instrument|question) and answer
// (native instrument|question|answer). Questions are found by the LOINC code that ends their linkId, answers by their
// code. The person comes from a Patient contained in the response or sent with it in a Bundle, because a reference alone
// says nobody's name.
type responses struct {
	instruments []*tableRow
	canonical   int                             // column of the instrument table
	questions   map[string]map[string]*tableRow // instrument, question code
}

// readResponses prepares a pack that accepts responses.
func (p *Pack) readResponses(file string, line int, f *faults) {
	in, q, a := p.tables["instrument"], p.tables["question"], p.tables["answer"]
	if in == nil || q == nil || a == nil {
		f.add(file, line, "accepts questionnaire-response needs the tables instrument, question and answer")
		return
	}
	at, ok := in.columns["questionnaire"]
	if !ok {
		f.add(file, line, "table instrument needs a column questionnaire to accept responses")
		return
	}
	r := &responses{instruments: in.list, canonical: at, questions: map[string]map[string]*tableRow{}}
	for _, row := range q.list {
		instrument, _, _ := strings.Cut(row.native, "|")
		if r.questions[instrument] == nil {
			r.questions[instrument] = map[string]*tableRow{}
		}
		r.questions[instrument][row.code] = row
	}
	p.responses = r
}

// A responseItem is an answered item of a response.
type responseItem struct {
	code    string
	ptr     string
	answers []any
}

// adapt turns a QuestionnaireResponse, or a Bundle of one with its Patient, into a record of the pack. The map tells which
// pointer of the response each pointer of the record stands for.
func (p *Pack) adapt(env *envState, v map[string]any) (map[string]any, map[string]string, error) {
	invalid := func(ptr, code, text string) error {
		return &InvalidError{Problems: []Problem{{Code: code, Pointer: ptr, Text: text, Dropped: true}}}
	}
	resp, patient, base := partsOf(v)
	if resp == nil {
		return nil, nil, invalid("", "no-response", "the Bundle holds no QuestionnaireResponse")
	}
	if patient == nil {
		return nil, nil, invalid(base+"/subject", "no-person", "the response says nobody's name: contain the Patient in it, or send both in a Bundle")
	}
	var items []responseItem
	collectItems(resp["item"], base+"/item", &items, 0)
	instrument, why := p.responses.instrument(env, resp, items)
	if instrument == nil {
		return nil, nil, invalid(base+"/questionnaire", "unknown-instrument", why)
	}
	status, ok := map[string]string{"completed": "done", "amended": "corrected", "entered-in-error": "entered-by-mistake"}[textAt(resp, "status")]
	if !ok {
		return nil, nil, invalid(base+"/status", "unfinished", "only a completed, amended or mistaken response is taken")
	}
	rec := map[string]any{"instrument": instrument.native, "status": status, "client": clientOf(patient)}
	origin := map[string]string{}
	set := func(name, value, from string) {
		if value != "" {
			rec[name], origin["/"+name] = value, base+from
		}
	}
	set("screening_id", responseID(resp), "/identifier")
	set("screened_at", textAt(resp, "authored"), "/authored")
	set("last_updated", textAt(resp, "meta", "lastUpdated"), "/meta/lastUpdated")
	if rec["last_updated"] == nil {
		set("last_updated", textAt(resp, "authored"), "/authored")
	}
	filledIn(rec, resp)
	var answers []any
	for _, item := range items {
		row := p.responses.questions[instrument.native][item.code]
		question := item.code // the pack's check says that the instrument does not have it
		if row != nil {
			_, question, _ = strings.Cut(row.native, "|")
		}
		for i, a := range item.answers {
			origin["/answers/"+itoa(len(answers))] = item.ptr + "/answer/" + itoa(i)
			answers = append(answers, answerOf(question, a))
		}
	}
	rec["answers"] = answers
	return rec, origin, nil
}

// partsOf finds the response, its Patient, and where the response stands.
func partsOf(v map[string]any) (resp, patient map[string]any, base string) {
	if v["resourceType"] != "Bundle" {
		resp = v
	}
	entries, _ := v["entry"].([]any)
	for i, e := range entries {
		switch r := asObject(asObject(e).fields["resource"]).fields; r["resourceType"] {
		case "QuestionnaireResponse":
			if resp == nil {
				resp, base = r, "/entry/"+itoa(i)+"/resource"
			}
		case "Patient":
			patient = r
		}
	}
	contained, _ := resp["contained"].([]any)
	for _, c := range contained {
		if r := asObject(c).fields; r["resourceType"] == "Patient" && "#"+textAt(r, "id") == textAt(resp, "subject", "reference") {
			patient = r
		}
	}
	return resp, patient, base
}

// collectItems flattens groups; an item with answers is a question.
func collectItems(v any, ptr string, out *[]responseItem, depth int) {
	list, _ := v.([]any)
	if depth > maxSchemaDepth {
		return
	}
	for i, e := range list {
		item, at := asObject(e).fields, ptr+"/"+itoa(i)
		if answers, ok := item["answer"].([]any); ok && len(answers) > 0 {
			link := textAt(item, "linkId")
			*out = append(*out, responseItem{code: link[strings.LastIndexByte(link, '/')+1:], ptr: at, answers: answers})
			for j, a := range answers {
				collectItems(asObject(a).fields["item"], at+"/answer/"+itoa(j)+"/item", out, depth+1)
			}
		}
		collectItems(item["item"], at+"/item", out, depth+1)
	}
}

// instrument finds out which form was filled in: by the canonical of the questionnaire, else as the only one that has
// every question that was answered.
func (r *responses) instrument(env *envState, resp map[string]any, items []responseItem) (*tableRow, string) {
	canonical, _, _ := strings.Cut(textAt(resp, "questionnaire"), "|")
	for _, row := range r.instruments {
		url := row.cells[r.canonical]
		if rest, ok := strings.CutPrefix(url, localPrefix); ok {
			url = env.Base + "/" + rest
		}
		if canonical != "" && url == canonical {
			return row, ""
		}
	}
	var fits []*tableRow
	for _, row := range r.instruments {
		all := len(items) > 0
		for _, item := range items {
			all = all && r.questions[row.native][item.code] != nil
		}
		if all {
			fits = append(fits, row)
		}
	}
	switch len(fits) {
	case 1:
		return fits[0], ""
	case 0:
		return nil, "the questionnaire is none that this pack knows, and no instrument has all the questions that were answered"
	}
	return nil, "the questionnaire is none that this pack knows, and several instruments have the questions that were answered"
}

func textAt(v map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		v = asObject(v[name]).fields
	}
	text, _ := v[path[len(path)-1]].(string)
	return text
}

func responseID(resp map[string]any) string {
	if id := textAt(resp, "identifier", "value"); id != "" {
		return id
	}
	return textAt(resp, "id")
}

// clientOf reads what a screening needs of a Patient.
func clientOf(patient map[string]any) map[string]any {
	out := map[string]any{"sex": "unknown"}
	if list, ok := patient["identifier"].([]any); ok && len(list) > 0 {
		if value := textAt(asObject(list[0]).fields, "value"); value != "" {
			out["id"] = value
		}
	}
	if out["id"] == nil {
		out["id"] = textAt(patient, "id")
	}
	if sex := textAt(patient, "gender"); sex != "" {
		out["sex"] = sex
	}
	if born := textAt(patient, "birthDate"); born != "" {
		out["birth_date"] = born
	}
	name := map[string]any{}
	names, _ := patient["name"].([]any)
	for _, n := range names {
		m := asObject(n).fields
		given, _ := m["given"].([]any)
		if first, ok := scalar(firstItem(given)); ok && name["first"] == nil {
			name["first"] = first
		}
		if last := textAt(m, "family"); last != "" && name["last"] == nil {
			name["last"] = last
		}
	}
	if len(name) > 0 {
		out["name"] = name
	}
	return out
}

func firstItem(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// filledIn says who wrote the answers down, where the response does.
func filledIn(rec, resp map[string]any) {
	author := asObject(resp["author"]).fields
	ref := textAt(author, "reference")
	switch {
	case ref == "":
	case ref == textAt(resp, "subject", "reference"):
		rec["filled_in_by"] = "client"
	default:
		_, id, ok := strings.Cut(ref, "/")
		if name := textAt(author, "display"); ok && name != "" {
			rec["worker"] = map[string]any{"id": id, "name": name}
		}
	}
}

// answerOf is one answer as the pack's schema has it. What is no code and no number is left to the pack's checks.
func answerOf(question string, v any) map[string]any {
	out := map[string]any{"question": question}
	a := asObject(v).fields
	coding := asObject(a["valueCoding"]).fields
	switch {
	case textAt(coding, "system") == "http://terminology.hl7.org/CodeSystem/data-absent-reason":
		out["declined"] = true
	case textAt(coding, "code") != "":
		out["answer"] = textAt(coding, "code")
	}
	for _, name := range []string{"valueDecimal", "valueInteger"} {
		if n, ok := a[name].(json.Number); ok {
			out["number"] = n
		}
	}
	if n, ok := asObject(a["valueQuantity"]).fields["value"].(json.Number); ok {
		out["number"] = n
	}
	if len(out) == 1 {
		out["answer"] = "(not a code)"
	}
	return out
}

// inResponse moves problems from the record to the places of the response.
func inResponse(problems []Problem, origin map[string]string) []Problem {
	keys := slices.SortedFunc(maps.Keys(origin), func(a, b string) int { return len(b) - len(a) })
	for i := range problems {
		for _, key := range keys {
			rest, ok := strings.CutPrefix(problems[i].Pointer, key)
			if ok && (rest == "" || rest[0] == '/') {
				problems[i].Pointer = origin[key]
				break
			}
		}
	}
	return problems
}
