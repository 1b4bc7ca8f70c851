package rest

import (
	"cmp"
	"slices"
	"strings"

	"trellis/fhir"
	"trellis/fhir/match"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// Bounds of $match: how many candidates each way of looking gives, and how many matches are given.
const (
	matchCandidates = 200
	matchGiven      = 100
)

// match serves Patient/$match (https://hl7.org/fhir/R4/patient-operation-match.html). Candidates come from the caller's view:
// a patient the caller may not see is as one who does not exist, and changes neither score nor order of others.
func (k *call) match() error {
	in, err := k.inputs("resource", "onlyCertainMatches", "count")
	if err != nil {
		return err
	}
	asked, err := k.matched(in)
	if err != nil {
		return err
	}
	onlyCertain, err := in.boolean("onlyCertainMatches", false)
	if err != nil {
		return err
	}
	count, err := in.number("count", matchGiven, 1)
	if err != nil {
		return err
	}
	rows, more, err := k.candidates(asked)
	if err != nil {
		return err
	}
	agencies, err := k.agencies(asked)
	if err != nil {
		return err
	}
	set := release.Set{Type: "searchset", Grades: map[string]release.Grade{}}
	if set.Rows, err = grade(rows, asked, agencies, set.Grades); err != nil {
		return err
	}
	if onlyCertain {
		set.Rows = onlyOne(set.Rows, set.Grades)
	}
	set.Rows = set.Rows[:min(len(set.Rows), count, matchGiven)]
	if more {
		set.Outcome = append(set.Outcome, fhir.Issue{Code: "incomplete", Text: "more people resemble the one described than were compared; describe them more closely"})
	}
	return k.respondBundle(set)
}

// matched reads the Patient that is looked for.
func (k *call) matched(in inputs) (*fhir.Resource, error) {
	given, err := in.node("resource")
	if err != nil {
		return nil, err
	}
	if given.IsZero() {
		return nil, fhir.NewProblem(fhir.Invalid, "required", "the Patient to look for is missing")
	}
	res, err := k.s.Parser.Parse(given.Raw())
	if err != nil {
		return nil, err
	}
	if res.Type != "Patient" {
		return nil, badInput("resource", "is no Patient")
	}
	if !match.Read(res.Root).Enough() {
		return nil, fhir.NewProblem(fhir.Unprocessable, "required", "too little to look by: give an identifier with its system, or family and given name with the date of birth or a way to reach the person")
	}
	return res, nil
}

// grade compares the candidates and keeps those that may be meant, the best first.
func grade(rows []store.Row, asked *fhir.Resource, agencies match.Agencies, grades map[string]release.Grade) ([]store.Row, error) {
	person := match.Read(asked.Root)
	var out []store.Row
	for _, row := range rows {
		root, err := fhir.ParseJSON(row.Doc)
		if err != nil {
			return nil, err
		}
		if r := match.Compare(person, match.Read(root), agencies); r.Grade != match.None {
			grades[row.ID] = release.Grade{Score: r.Score(), Code: string(r.Grade)}
			out = append(out, row)
		}
	}
	slices.SortFunc(out, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(grades[b.ID].Score, grades[a.ID].Score), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// onlyOne is the one certain match; where several are certain, none is.
func onlyOne(rows []store.Row, grades map[string]release.Grade) []store.Row {
	rows = slices.DeleteFunc(rows, func(r store.Row) bool { return grades[r.ID].Code != string(match.Certain) })
	if len(rows) > 1 {
		return nil
	}
	return rows
}

// candidates finds patients of the caller's view that share an identifier, a date of birth, a name or a way to be
// reached. more reports that one of these gave more than are compared.
func (k *call) candidates(asked *fhir.Resource) (rows []store.Row, more bool, err error) {
	seen := map[string]bool{}
	for _, where := range k.blocks(asked.Root) {
		q := &search.Query{Type: "Patient", Where: where, Count: matchCandidates}
		page, err := k.s.Store.Search(k.ctx, k.caller.searching, q, nil)
		if err != nil {
			return nil, false, err
		}
		more = more || page.Next != nil
		for _, row := range page.Rows {
			if !seen[row.ID] {
				seen[row.ID] = true
				rows = append(rows, row)
			}
		}
	}
	return rows, more, nil
}

// blocks are the searches that find candidates.
func (k *call) blocks(patient fhir.Node) []search.And {
	var out []search.And
	add := func(code string, mode search.Mode, values []search.Value) {
		if c, ok := k.indexed("Patient", code, mode, values); ok {
			out = append(out, search.And{c})
		}
	}
	var identifiers, births, reach []search.Value
	for _, n := range patient.Get("identifier").List() {
		if system, value := n.Get("system").Text(), n.Get("value").Text(); system != "" && value != "" {
			identifiers = append(identifiers, search.Value{System: system, Code: value})
		}
	}
	birth := patient.Get("birthDate").Text()
	for _, date := range []string{birth, match.Transposed(birth)} {
		if len(date) != len("2006-01-02") {
			continue // a year is no way to find a person
		}
		if span, err := search.ParseDate(date); err == nil {
			births = append(births, search.Value{Prefix: "eq", Range: span})
		}
	}
	for _, n := range patient.Get("telecom").List() {
		if value := n.Get("value").Text(); value != "" {
			reach = append(reach, search.Value{AnySystem: true, Code: value})
			if phone := match.Phone(value); phone != "" && phone != value {
				reach = append(reach, search.Value{AnySystem: true, Code: phone})
			}
		}
	}
	add("identifier", search.Exact, identifiers)
	add("birthdate", search.Exact, births)
	add("telecom", search.Exact, reach)
	for _, n := range patient.Get("name").List() {
		family, okFamily := k.indexed("Patient", "family", search.Prefix, nameValues(n.Get("family")))
		given, okGiven := k.indexed("Patient", "given", search.Prefix, nameValues(n.Get("given").List()...))
		if okFamily && okGiven {
			out = append(out, search.And{family, given})
		}
	}
	return out
}

// nameValues are the ways a name may begin in the index: as it is written, and with each of its parts first.
func nameValues(names ...fhir.Node) []search.Value {
	var out []search.Value
	for _, n := range names {
		folded := search.Fold(n.Text())
		for _, text := range append([]string{folded}, strings.FieldsFunc(folded, func(r rune) bool { return r == ' ' || r == '-' })...) {
			if v := (search.Value{Text: text}); text != "" && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

// indexed is a condition on a parameter; ok is false without values.
func (k *call) indexed(typ, code string, mode search.Mode, values []search.Value) (search.Condition, bool) {
	par, ok := k.s.Registry.Lookup(typ, code)
	if !ok || !par.Ready() || len(values) == 0 {
		return nil, false
	}
	return search.Index{Kind: par.Kind, Params: par.Reads, Mode: mode, Values: values}, true
}

// agencies finds which of the addresses asked for are an organisation's or a place's, and the telephones of those.
// They are public entries.
func (k *call) agencies(asked *fhir.Resource) (match.Agencies, error) {
	out := match.Agencies{Addresses: map[string]bool{}, Phones: map[string]bool{}}
	var values []search.Value
	person := match.Read(asked.Root)
	for _, a := range person.Addresses {
		start := strings.Fields(search.Fold(a.Line))
		values = append(values, search.Value{Text: strings.Join(start[:min(2, len(start))], " ")})
	}
	for _, typ := range []string{"Organization", "Location"} {
		where, ok := k.indexed(typ, "address", search.Prefix, values)
		if !ok {
			continue
		}
		page, err := k.s.Store.Search(k.ctx, k.caller.searching, &search.Query{Type: typ, Where: search.And{where}, Count: search.MaxCount}, nil)
		if err != nil {
			return out, err
		}
		for _, row := range page.Rows {
			if err := addAgency(out, row); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

func addAgency(out match.Agencies, row store.Row) error {
	root, err := fhir.ParseJSON(row.Doc)
	if err != nil {
		return err
	}
	for _, n := range root.Get("address").List() {
		if a, ok := match.ReadAddress(n); ok {
			out.Addresses[a.Key] = true
		}
	}
	for _, n := range root.Get("telecom").List() {
		if phone := match.Phone(n.Get("value").Text()); phone != "" {
			out.Phones[phone] = true
		}
	}
	return nil
}
