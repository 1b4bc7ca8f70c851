package search

import (
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"trellis/fhir"
)

// Page sizes (R4 leaves them to the server).
const (
	DefaultCount = 20
	MaxCount     = 1000
	maxValues    = 2000 // OR values of one parameter
)

// Query is a checked search request.
type Query struct {
	Type       string
	Criteria   []Criterion
	Sort       []Sort
	Count      int
	CountOnly  bool // _summary=count or _count=0
	Total      bool // _total=accurate
	Include    []Include
	RevInclude []Include
	Cursor     string
	// Used is what was understood, canonically ordered and without the cursor: the self link and the cursor's binding.
	Used url.Values
}

// Criterion is one parameter; its values are alternatives (OR), criteria are joined by AND.
type Criterion struct {
	Code     string
	Kind     Kind
	Modifier string // "", "exact", "contains" for strings; "not" for tokens; "missing" for all
	Targets  []string
	Values   []Value
	Missing  bool // value of :missing
}

// Value is one alternative of a criterion; which fields are set depends on the kind.
type Value struct {
	System    string // token
	AnySystem bool   // token without a bar
	Code      string // token, "" with a system matches any code of it
	Prefix    string // date: eq ne gt lt ge le sa eb ap
	Range     Range  // date
	Text      string // string, folded unless :exact
	RefType   string // reference, "" when the type was not given
	RefID     string
}

// Sort is one _sort key.
type Sort struct {
	Code       string
	Kind       Kind // "" for _id and _lastUpdated
	Descending bool
}

// Include is one _include or _revinclude: source type and reference parameter, with an optional target type.
type Include struct{ Source, Code, Target string }

// Patients lists the Patient ids a criterion restricts the query to, when it is a compartment parameter
// (patient, or subject with Patient references) with equality only. A store uses it to search one compartment.
func (q *Query) Patients() []string {
	for _, c := range q.Criteria {
		if c.Kind != KindReference || c.Modifier != "" || (c.Code != "patient" && c.Code != "subject") {
			continue
		}
		var ids []string
		for _, v := range c.Values {
			if v.RefType == "Patient" || (v.RefType == "" && c.Code == "patient") {
				ids = append(ids, v.RefID)
			}
		}
		members := patientCompartment(q.Type)
		// Where the compartment is made by subject, patient is subject narrowed to Patients.
		if len(ids) == len(c.Values) && (contains(members, c.Code) || (c.Code == "patient" && contains(members, "subject"))) {
			return ids
		}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Parse checks a query string against the registry. base is the server's FHIR base URL.
// The error is a *fhir.Problem that names the parameter and never repeats its value.
func (r *Registry) Parse(typ string, params url.Values, base string) (*Query, error) {
	q := &Query{Type: typ, Count: DefaultCount, Used: url.Values{}}
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range params[name] {
			if value == "" {
				continue // R4 3.1.1: a parameter without value is as if it were not there
			}
			if err := r.parameter(q, name, value, base); err != nil {
				return nil, err
			}
			if name != "_cursor" && name != "_format" && name != "_pretty" {
				q.Used.Add(name, value)
			}
		}
	}
	return q, nil
}

func bad(name, why string) *fhir.Problem {
	return fhir.NewProblem(fhir.Unsupported, "not-supported", fmt.Sprintf("search parameter %s: %s", name, why))
}

func invalid(name, why string) *fhir.Problem {
	return fhir.NewProblem(fhir.Invalid, "invalid", fmt.Sprintf("search parameter %s: %s", name, why))
}

func (r *Registry) parameter(q *Query, name, value, base string) error {
	switch name {
	case "_count":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return invalid(name, "must be a whole number, 0 or more")
		}
		q.Count, q.CountOnly = min(n, MaxCount), q.CountOnly || n == 0
		return nil
	case "_cursor":
		q.Cursor = value
		return nil
	case "_format", "_pretty":
		return nil
	case "_total":
		switch value {
		case "none":
		case "accurate":
			q.Total = true
		default:
			return bad(name, "this server offers none and accurate")
		}
		return nil
	case "_summary":
		switch value {
		case "count":
			q.CountOnly = true
		case "false":
		default:
			return bad(name, "this server offers count and false")
		}
		return nil
	case "_sort":
		return r.sorts(q, value)
	case "_include":
		return r.include(q, name, value, &q.Include)
	case "_revinclude":
		return r.include(q, name, value, &q.RevInclude)
	default:
		return r.criterion(q, name, value, base)
	}
}

func (r *Registry) sorts(q *Query, value string) error {
	for _, key := range strings.Split(value, ",") {
		code, desc := strings.CutPrefix(key, "-")
		s := Sort{Code: code, Descending: desc}
		if code != "_id" && code != "_lastUpdated" {
			p, ok := r.Lookup(q.Type, code)
			if !ok {
				return bad("_sort", "names an unknown parameter")
			}
			if p.Kind == KindReference { // the order would tell of references the caller may not follow
				return bad("_sort", "sorting by a reference is not offered")
			}
			s.Kind = p.Kind
		}
		q.Sort = append(q.Sort, s)
	}
	if len(q.Sort) > 3 {
		return bad("_sort", "at most three keys")
	}
	return nil
}

func (r *Registry) include(q *Query, name, value string, into *[]Include) error {
	parts := strings.Split(value, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[1] == "*" || !fhir.KnownType(parts[0]) {
		return bad(name, "must be Type:parameter or Type:parameter:Target")
	}
	inc := Include{Source: parts[0], Code: parts[1]}
	if len(parts) == 3 {
		if !fhir.KnownType(parts[2]) {
			return bad(name, "names an unknown target type")
		}
		inc.Target = parts[2]
	}
	p, ok := r.Lookup(inc.Source, inc.Code)
	if !ok || p.Kind != KindReference {
		return bad(name, "names no reference parameter of that type")
	}
	if name == "_include" && inc.Source != q.Type {
		return bad(name, "its source type is not the type searched")
	}
	if name == "_revinclude" && inc.Target != "" && inc.Target != q.Type {
		return bad(name, "its target type is not the type searched")
	}
	*into = append(*into, inc)
	return nil
}

func (r *Registry) criterion(q *Query, name, value, base string) error {
	code, modifier, _ := strings.Cut(name, ":")
	if strings.Contains(name, ".") || code == "_has" {
		return bad(clean(name), "chained and reverse-chained search is not offered")
	}
	c := Criterion{Code: code, Modifier: modifier}
	switch code {
	case "_id":
		c.Kind = KindToken
	case "_lastUpdated":
		c.Kind = KindDate
	default:
		p, ok := r.Lookup(q.Type, code)
		if !ok {
			if kind, known := r.unserved[q.Type+"."+code]; known {
				return bad(code, "parameters of type "+kind+" are not offered")
			}
			return bad(clean(code), "is not known for "+q.Type)
		}
		c.Kind, c.Targets = p.Kind, p.Targets
	}
	if err := c.checkModifier(name, value); err != nil {
		return err
	}
	if c.Modifier == "missing" {
		q.Criteria = append(q.Criteria, c)
		return nil
	}
	for _, alternative := range splitEscaped(value, ',') {
		v, err := c.value(alternative, base)
		if err != nil {
			return invalid(code, err.Error())
		}
		c.Values = append(c.Values, v)
	}
	if len(c.Values) > maxValues {
		return fhir.NewProblem(fhir.TooLarge, "too-costly", "search parameter "+code+": too many values")
	}
	if c.Kind == KindReference && c.Modifier != "" {
		c.Modifier = "" // the type modifier is now part of each value
	}
	q.Criteria = append(q.Criteria, c)
	return nil
}

// clean keeps an unknown parameter's name fit to be repeated to its sender.
func clean(name string) string {
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_:.", c)) {
			return "(unreadable name)"
		}
	}
	if len(name) > 64 {
		return name[:64]
	}
	return name
}

func (c *Criterion) checkModifier(name, value string) error {
	switch {
	case c.Modifier == "":
		return nil
	case c.Modifier == "missing" && !strings.HasPrefix(c.Code, "_"):
		if value != "true" && value != "false" {
			return invalid(clean(name), ":missing must be true or false")
		}
		c.Missing = value == "true"
		return nil
	case c.Kind == KindString && (c.Modifier == "exact" || c.Modifier == "contains"):
		return nil
	case c.Kind == KindToken && c.Modifier == "not" && !strings.HasPrefix(c.Code, "_"):
		return nil
	case c.Kind == KindReference && fhir.KnownType(c.Modifier):
		return nil
	}
	return bad(clean(name), "this modifier is not offered")
}
