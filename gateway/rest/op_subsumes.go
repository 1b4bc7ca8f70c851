package rest

import (
	"trellis/fhir"
	"trellis/fhir/terminology"
)

// subsumes serves CodeSystem/$subsumes (https://hl7.org/fhir/R4/codesystem-operation-subsumes.html).
func (k *call) subsumes() error {
	in, err := k.inputs("codeA", "codeB", "system", "version", "codingA", "codingB")
	if err != nil {
		return err
	}
	a, err := in.codes("codeA", "system", "version", "codingA", "")
	if err != nil {
		return err
	}
	b, err := in.codes("codeB", "system", "version", "codingB", "")
	if err != nil {
		return err
	}
	library, err := k.s.Terminology.Library(k.ctx)
	if err != nil {
		return err
	}
	found, err := k.defined(library)
	if err != nil {
		return err
	}
	cs, ok := found.(*terminology.CodeSystem)
	switch {
	case a[0].system != b[0].system || ok && a[0].system != "" && a[0].system != cs.URL:
		return fhir.NewProblem(fhir.Invalid, "invalid", "both codes must be of one code system")
	case !ok && a[0].system == "":
		return fhir.NewProblem(fhir.Invalid, "required", "the code system is needed")
	case !ok:
		if cs, err = library.System(a[0].system, a[0].version); err != nil {
			return err
		}
	}
	outcome, err := library.Subsumes(cs, a[0].code, b[0].code)
	if err != nil {
		return err
	}
	var out results
	out.text("outcome", "valueCode", outcome)
	return k.answer(out.body())
}
