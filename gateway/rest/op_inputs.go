package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
)

// inputs are the parameters of an operation (https://hl7.org/fhir/R4/operations.html#request): of the query string, of
// a Parameters resource, or of both.
type inputs struct{ values map[string][]input }

// input is one value: a text as a query string has it, or the node of a Parameters resource.
type input struct {
	text string
	node fhir.Node // zero when it came in the query string
}

// inputs reads what an operation was given. A parameter it does not have is refused: to leave it out could widen the
// answer. Where "resource" is among the names, a body of another type than Parameters is that parameter.
func (k *call) inputs(names ...string) (inputs, error) {
	in, err := k.given(slices.Contains(names, "resource"))
	if err != nil {
		return in, err
	}
	for name := range in.values {
		if !slices.Contains(names, name) {
			return in, fhir.NewProblem(fhir.Unsupported, "not-supported", "this operation does not take one of the parameters sent")
		}
	}
	return in, nil
}

// given reads all an operation was given. With bare, a body that is no Parameters is the parameter "resource".
func (k *call) given(bare bool) (inputs, error) {
	in := inputs{values: map[string][]input{}}
	query, err := url.ParseQuery(k.c.Request.URL.RawQuery)
	if err != nil {
		return in, fhir.NewProblem(fhir.Invalid, "invalid", "the query string is not well formed").Because(err)
	}
	for name, values := range query {
		for _, v := range values {
			if name != "_format" && name != "_pretty" && v != "" {
				in.values[name] = append(in.values[name], input{text: v})
			}
		}
	}
	if k.c.Request.Method == http.MethodPost && k.c.Request.ContentLength != 0 {
		return in, k.posted(&in, bare)
	}
	return in, nil
}

// posted adds the parameters of the body.
func (k *call) posted(in *inputs, bare bool) error {
	data, err := k.body()
	if err != nil {
		return err
	}
	res, err := fhir.ReadTrusted(data) // values are checked where they are read
	if err != nil {
		return err
	}
	if res.Type != "Parameters" {
		if !bare {
			return fhir.NewProblem(fhir.Invalid, "structure", "the body must be a Parameters resource")
		}
		in.values["resource"] = append(in.values["resource"], input{node: res.Root})
		return nil
	}
	for _, p := range res.Root.Get("parameter").List() {
		name := p.Get("name").Text()
		value := p.Get("resource")
		for _, m := range p.Members {
			if strings.HasPrefix(m.Name, "value") {
				value = m.Value
			}
		}
		if value.IsZero() {
			value = p.Get("part")
		}
		if name == "" || value.IsZero() {
			return fhir.NewProblem(fhir.Invalid, "structure", "a parameter has no name or no value").At("Parameters.parameter")
		}
		in.values[name] = append(in.values[name], input{text: value.Text(), node: value})
	}
	return nil
}

// badInput is the refusal of a parameter's value.
func badInput(name, why string) error {
	return fhir.NewProblem(fhir.Invalid, "invalid", "the parameter "+name+" "+why)
}

// has reports whether a parameter was given.
func (in inputs) has(name string) bool { return len(in.values[name]) > 0 }

// text is a parameter that may stand once, "" when it was not given.
func (in inputs) text(name string) (string, error) {
	list := in.values[name]
	switch {
	case len(list) == 0:
		return "", nil
	case len(list) > 1:
		return "", badInput(name, "may be given once")
	case list[0].text == "":
		return "", badInput(name, "has no simple value")
	}
	return list[0].text, nil
}

// list is a parameter that may be repeated, or have commas.
func (in inputs) list(name string) []string {
	var out []string
	for _, v := range in.values[name] {
		for _, s := range strings.Split(v.text, ",") {
			if s = strings.TrimSpace(s); s != "" && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// number is a whole number of at least least; absent when it was not given.
func (in inputs) number(name string, absent, least int) (int, error) {
	text, err := in.text(name)
	if err != nil || text == "" {
		return absent, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least {
		return 0, badInput(name, "must be a whole number, "+strconv.Itoa(least)+" or more")
	}
	return n, nil
}

// boolean is a true or false; absent when it was not given.
func (in inputs) boolean(name string, absent bool) (bool, error) {
	text, err := in.text(name)
	switch {
	case err != nil || text == "":
		return absent, err
	case text != "true" && text != "false":
		return false, badInput(name, "must be true or false")
	}
	return text == "true", nil
}

// date is a date or an instant as the time it spans; nil when it was not given.
func (in inputs) date(name string) (*search.Range, error) {
	text, err := in.text(name)
	if err != nil || text == "" {
		return nil, err
	}
	// A plus sign in a query string arrives as a space when the client did not escape it.
	span, err := search.ParseDate(strings.Replace(text, " ", "+", 1))
	if err != nil {
		return nil, badInput(name, "is not a date or an instant")
	}
	return &span, nil
}

// node is a parameter of a complex type that may stand once; the zero node when it was not given.
func (in inputs) node(name string) (fhir.Node, error) {
	list := in.values[name]
	switch {
	case len(list) == 0:
		return fhir.Node{}, nil
	case len(list) > 1:
		return fhir.Node{}, badInput(name, "may be given once")
	case list[0].node.Kind != '{':
		return fhir.Node{}, badInput(name, "has no value of its type")
	}
	return list[0].node, nil
}

// asked is what was given in the query string, in one canonical form: what a page link repeats.
func (in inputs) asked(names ...string) url.Values {
	out := url.Values{}
	for _, name := range names {
		for _, v := range in.values[name] {
			out.Add(name, v.text)
		}
	}
	return out
}
