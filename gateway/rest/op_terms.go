package rest

import (
	"net/http"

	"trellis/fhir"
	"trellis/fhir/terminology"
)

// askedCode is a code a terminology operation is about.
type askedCode struct{ system, version, code, display string }

// codes reads the code an operation is about: code with system, coding, or codeableConcept, one of them.
func (in inputs) codes(codeName, systemName, versionName, codingName, conceptName string) ([]askedCode, error) {
	var out []askedCode
	code, err := in.text(codeName)
	if err != nil {
		return nil, err
	}
	coding, err := in.node(codingName)
	if err != nil {
		return nil, err
	}
	concept, err := in.node(conceptName)
	if err != nil {
		return nil, err
	}
	if code != "" {
		a := askedCode{code: code}
		for name, into := range map[string]*string{systemName: &a.system, versionName: &a.version, "display": &a.display} {
			if *into, err = in.text(name); err != nil {
				return nil, err
			}
		}
		out = append(out, a)
	}
	if !coding.IsZero() {
		out = append(out, codingOf(coding))
	}
	for _, c := range concept.Get("coding").List() {
		out = append(out, codingOf(c))
	}
	if len(out) == 0 || len(out) > 1 && concept.IsZero() {
		return nil, fhir.NewProblem(fhir.Invalid, "required", "one code is needed, as code with system, as coding or as codeableConcept")
	}
	for _, a := range out {
		if a.code == "" {
			return nil, fhir.NewProblem(fhir.Invalid, "required", "a coding needs a code")
		}
	}
	return out, nil
}

func codingOf(n fhir.Node) askedCode {
	return askedCode{n.Get("system").Text(), n.Get("version").Text(), n.Get("code").Text(), n.Get("display").Text()}
}

// defined is the definition an operation is called on: nil at type level.
func (k *call) defined(l *terminology.Library) (any, error) {
	ref := fhir.Reference{Type: k.c.Param("type"), ID: k.c.Param("id")}
	if ref.ID == "" {
		return nil, nil
	}
	if _, err := k.visible(ref); err != nil {
		return nil, err
	}
	found, ok := l.ByID(ref)
	if !ok {
		return nil, fhir.NewProblem(fhir.Unavailable, "transient", "the definition is being read; try again")
	}
	return found, nil
}

// answer releases what an operation found out.
func (k *call) answer(body []byte) error {
	released, err := k.s.Gate.Answer(k.ctx, k.req, body)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// results is a Parameters resource while it is written.
type results struct{ out []byte }

func (r *results) add(name, member string, value []byte) {
	r.begin()
	r.out = append(append(append(r.out, `{"name":"`+name+`","`+member+`":`...), value...), '}')
}

// text adds a string-like value, unless it is empty.
func (r *results) text(name, member, value string) {
	if value != "" {
		r.add(name, member, fhir.Quote(value))
	}
}

func (r *results) boolean(name string, value bool) {
	literal := "false"
	if value {
		literal = "true"
	}
	r.add(name, "valueBoolean", []byte(literal))
}

// part adds a parameter made of parts.
func (r *results) part(name string, parts results) {
	if len(parts.out) > 0 {
		r.add(name, "part", append(append([]byte{'['}, parts.out...), ']'))
	}
}

func (r *results) begin() {
	if len(r.out) > 0 {
		r.out = append(r.out, ',')
	}
}

func (r *results) body() []byte {
	return append(append([]byte(`{"resourceType":"Parameters","parameter":[`), r.out...), ']', '}')
}

// codingJSON is a Coding.
func codingJSON(system, version, code, display string) []byte {
	out := []byte{'{'}
	for _, f := range []struct{ name, value string }{{"system", system}, {"version", version}, {"code", code}, {"display", display}} {
		if f.value == "" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, `"`+f.name+`":`...), fhir.Quote(f.value)...)
	}
	return append(out, '}')
}
