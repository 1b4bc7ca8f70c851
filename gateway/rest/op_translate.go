package rest

import (
	"trellis/fhir/terminology"
)

// translate serves ConceptMap/$translate (https://hl7.org/fhir/R4/conceptmap-operation-translate.html).
func (k *call) translate() error {
	in, err := k.inputs("url", "conceptMapVersion", "code", "system", "version", "source", "coding", "codeableConcept", "target", "targetsystem", "reverse")
	if err != nil {
		return err
	}
	asked, err := in.codes("code", "system", "version", "coding", "codeableConcept")
	if err != nil {
		return err
	}
	library, err := k.s.Terminology.Library(k.ctx)
	if err != nil {
		return err
	}
	maps, q, err := k.conceptMaps(library, in)
	if err != nil {
		return err
	}
	var matches []terminology.Match
	left := false
	for _, a := range asked {
		q.System, q.Code = a.system, a.code
		found, more, err := library.Translate(maps, q)
		if err != nil {
			return err
		}
		matches, left = append(matches, found...), left || more
	}
	return k.answer(translation(matches, left))
}

// conceptMaps reads which maps are asked and how.
func (k *call) conceptMaps(l *terminology.Library, in inputs) ([]*terminology.ConceptMap, terminology.Question, error) {
	var q terminology.Question
	var url, version string
	for name, into := range map[string]*string{"url": &url, "conceptMapVersion": &version, "source": &q.SourceSet, "target": &q.TargetSet, "targetsystem": &q.TargetSystem} {
		var err error
		if *into, err = in.text(name); err != nil {
			return nil, q, err
		}
	}
	var err error
	if q.Reverse, err = in.boolean("reverse", false); err != nil {
		return nil, q, err
	}
	found, err := k.defined(l)
	if err != nil {
		return nil, q, err
	}
	if m, ok := found.(*terminology.ConceptMap); ok {
		return []*terminology.ConceptMap{m}, q, nil
	}
	maps, err := l.Maps(url, version, q)
	return maps, q, err
}

// translation writes the matches.
func translation(matches []terminology.Match, left bool) []byte {
	matched := false
	for _, m := range matches {
		matched = matched || m.Matched()
	}
	var out results
	out.boolean("result", matched)
	switch {
	case left:
		out.text("message", "valueString", "translations that depend on more than the code were left out")
	case !matched:
		out.text("message", "valueString", "the maps have no translation of the code")
	}
	for _, m := range matches {
		var parts results
		parts.text("equivalence", "valueCode", m.Equivalence)
		if m.Code != "" {
			parts.add("concept", "valueCoding", codingJSON(m.System, "", m.Code, m.Display))
		}
		parts.text("source", "valueUri", m.Map)
		out.part("match", parts)
	}
	return out.body()
}
