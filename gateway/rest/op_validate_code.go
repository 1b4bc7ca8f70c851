package rest

import (
	"trellis/fhir"
	"trellis/fhir/terminology"
)

// validateCode serves CodeSystem/$validate-code and ValueSet/$validate-code
// (https://hl7.org/fhir/R4/codesystem-operation-validate-code.html,
// https://hl7.org/fhir/R4/valueset-operation-validate-code.html). Of several codings one that holds is enough.
func (k *call) validateCode() error {
	onSet := k.c.Param("type") == "ValueSet"
	names := []string{"url", "code", "display", "coding", "codeableConcept", "abstract"}
	systemName, versionName := "", "version"
	if onSet {
		systemName, versionName = "system", "systemVersion"
		names = append(names, "valueSet", "valueSetVersion", systemName)
	}
	in, err := k.inputs(append(names, versionName)...)
	if err != nil {
		return err
	}
	asked, err := in.codes("code", systemName, versionName, "coding", "codeableConcept")
	if err != nil {
		return err
	}
	abstract, err := in.boolean("abstract", false)
	if err != nil {
		return err
	}
	library, err := k.s.Terminology.Library(k.ctx)
	if err != nil {
		return err
	}
	var hold func(askedCode) finding
	if onSet {
		hold, err = k.inSet(library, in, abstract)
	} else {
		hold, err = k.inSystem(library, in, abstract)
	}
	if err != nil {
		return err
	}
	var best finding
	for i, a := range asked {
		if f := hold(a); i == 0 || f.ok && !best.ok {
			best = f
		}
	}
	var out results
	out.boolean("result", best.ok)
	out.text("message", "valueString", best.message)
	out.text("display", "valueString", best.display)
	return k.answer(out.body())
}

// finding is what there is to say of one code.
type finding struct {
	ok               bool
	message, display string
}

func refuted(message, display string) finding { return finding{message: message, display: display} }

// inSystem tests codes against one code system.
func (k *call) inSystem(l *terminology.Library, in inputs, abstract bool) (func(askedCode) finding, error) {
	found, err := k.defined(l)
	if err != nil {
		return nil, err
	}
	url, err := in.text("url")
	if err != nil {
		return nil, err
	}
	version, err := in.text("version")
	if err != nil {
		return nil, err
	}
	cs, given := found.(*terminology.CodeSystem)
	if !given {
		if url == "" { // then the coding says it
			if coding, err := in.node("coding"); err != nil {
				return nil, err
			} else if url = coding.Get("system").Text(); url == "" {
				return nil, fhir.NewProblem(fhir.Invalid, "required", "the code system is needed, as url")
			}
		}
		if cs, err = l.System(url, version); err != nil {
			return nil, err
		}
	}
	return func(a askedCode) finding {
		if a.system != "" && a.system != cs.URL {
			return refuted("the coding is of another code system", "")
		}
		c, ok := cs.Concept(a.code)
		switch {
		case !ok && !cs.Complete():
			return refuted("the code is not among those this server holds of the code system, which are not all", "")
		case !ok:
			return refuted("the code is not in the code system", "")
		}
		return judge(a, c.Display, c.Names, c.Abstract && !abstract)
	}, nil
}

// judge weighs what is said about a code that is there.
func judge(a askedCode, display string, names func(string) bool, unselectable bool) finding {
	switch {
	case unselectable:
		return refuted("the code is abstract and may not be chosen", display)
	case a.display != "" && display != "" && !names(a.display):
		return refuted("the display is not one of the code", display)
	}
	return finding{ok: true, display: display}
}

// inSet tests codes against one value set.
func (k *call) inSet(l *terminology.Library, in inputs, abstract bool) (func(askedCode) finding, error) {
	vs, err := k.valueSet(l, in)
	if err != nil {
		return nil, err
	}
	members, err := l.Expand(vs)
	if err != nil {
		return nil, err
	}
	return func(a askedCode) finding {
		if a.system == "" {
			return refuted("the code has no system", "")
		}
		for _, m := range members {
			if m.System == a.system && m.Code == a.code && (a.version == "" || m.Version == "" || a.version == m.Version) {
				c := terminology.Concept{Display: m.Display, Designations: m.Designations}
				return judge(a, m.Display, c.Names, m.Abstract && !abstract)
			}
		}
		return refuted("the code is not in the value set", "")
	}, nil
}

// valueSet is the value set an operation is about: the instance's, the one sent, or the one a URL names.
func (k *call) valueSet(l *terminology.Library, in inputs) (*terminology.ValueSet, error) {
	found, err := k.defined(l)
	if err != nil {
		return nil, err
	}
	if vs, ok := found.(*terminology.ValueSet); ok {
		return vs, nil
	}
	sent, err := in.node("valueSet")
	if err != nil {
		return nil, err
	}
	if !sent.IsZero() {
		res, err := k.s.Parser.Parse(sent.Raw())
		if err != nil {
			return nil, err
		}
		if res.Type != "ValueSet" {
			return nil, badInput("valueSet", "is no ValueSet")
		}
		return terminology.ReadValueSet(res), nil
	}
	url, err := in.text("url")
	if err != nil {
		return nil, err
	}
	if url == "" {
		return nil, fhir.NewProblem(fhir.Invalid, "required", "the value set is needed, as url or valueSet")
	}
	version, err := in.text("valueSetVersion")
	if err != nil {
		return nil, err
	}
	return l.Set(url, version)
}
