package mapping

import (
	"encoding/json"
	"regexp"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// A quickCheck accepts records that plainly follow their schema. It never refuses one: whatever it is not sure of goes to
// the library, whose word counts and which says what is wrong. Most records of a delivery are sound, and the library takes
// a third of the time of mapping one.
type quickCheck struct {
	types     map[string]bool // JSON types that are allowed; nil means any
	enum      map[string]bool // texts that are allowed
	yes       *bool           // the only boolean that is allowed
	min, max  *float64
	minLength int
	maxLength int // -1 means none
	pattern   *regexp.Regexp
	format    func(any) bool

	required   []string
	anyOf      [][]string // one of these lists must be there
	oneOf      [][]string // exactly one of these
	needs      map[string][]string
	properties map[string]*quickCheck
	open       bool // other properties may hold anything
	items      *quickCheck
	minItems   int
	unique     bool
}

// newQuickCheck reads a compiled schema; nil when it uses a keyword that is not known here.
func newQuickCheck(sc *jsonschema.Schema, depth int) *quickCheck {
	for sc.Ref != nil && len(sc.Properties) == 0 && sc.Items2020 == nil {
		sc = sc.Ref
	}
	if depth > maxSchemaDepth || unknownKeyword(sc) {
		return nil
	}
	q := &quickCheck{minLength: sc.MinLength, maxLength: sc.MaxLength, pattern: sc.Pattern, required: sc.Required, needs: sc.DependentRequired, minItems: sc.MinItems, unique: sc.UniqueItems}
	for _, typ := range sc.Types {
		if q.types == nil {
			q.types = map[string]bool{}
		}
		q.types[typ] = true
	}
	for _, v := range append(sc.Enum, sc.Constant...) {
		switch x := v.(type) {
		case string:
			if q.enum == nil {
				q.enum = map[string]bool{}
			}
			q.enum[x] = true
		case bool:
			if len(sc.Enum)+len(sc.Constant) > 1 {
				return nil
			}
			q.yes = &x
		default:
			return nil
		}
	}
	if sc.Minimum != nil {
		f, _ := sc.Minimum.Float64()
		q.min = &f
	}
	if sc.Maximum != nil {
		f, _ := sc.Maximum.Float64()
		q.max = &f
	}
	if sc.Format != "" {
		if q.format = jsonschema.Formats[sc.Format]; q.format == nil {
			return nil
		}
	}
	var ok bool
	if q.anyOf, ok = requiredLists(sc.AnyOf); !ok {
		return nil
	}
	if q.oneOf, ok = requiredLists(sc.OneOf); !ok {
		return nil
	}
	if len(sc.Properties) > 0 {
		if _, schema := sc.AdditionalProperties.(*jsonschema.Schema); schema {
			return nil
		}
		others, ok := sc.AdditionalProperties.(bool)
		q.open = !ok || others
		q.properties = map[string]*quickCheck{}
	}
	for name, p := range sc.Properties {
		if q.properties[name] = newQuickCheck(p, depth+1); q.properties[name] == nil {
			return nil
		}
	}
	if sc.Items2020 != nil {
		if q.items = newQuickCheck(sc.Items2020, depth+1); q.items == nil {
			return nil
		}
	}
	return q
}

func unknownKeyword(sc *jsonschema.Schema) bool {
	return sc.Always != nil || sc.Not != nil || len(sc.AllOf) > 0 || sc.If != nil || sc.MinProperties > 0 || sc.MaxProperties >= 0 ||
		sc.PropertyNames != nil || len(sc.PatternProperties) > 0 || len(sc.DependentSchemas) > 0 || len(sc.Dependencies) > 0 || sc.UnevaluatedProperties != nil ||
		sc.MaxItems >= 0 || len(sc.PrefixItems) > 0 || sc.Contains != nil || sc.UnevaluatedItems != nil || sc.ExclusiveMinimum != nil || sc.ExclusiveMaximum != nil ||
		sc.MultipleOf != nil || sc.ContentEncoding != "" || sc.ContentMediaType != "" || sc.DynamicRef != nil || sc.RecursiveRef != nil || sc.Items != nil
}

// requiredLists reads alternatives that ask for nothing but that fields are there.
func requiredLists(list []*jsonschema.Schema) ([][]string, bool) {
	var out [][]string
	for _, sc := range list {
		if len(sc.Required) == 0 || len(sc.Properties) > 0 || len(sc.Types) > 0 || sc.Ref != nil || unknownKeyword(sc) {
			return nil, false
		}
		out = append(out, sc.Required)
	}
	return out, true
}

// accepts tells that a decoded value follows the schema; false says nothing.
func (q *quickCheck) accepts(v any) bool {
	switch x := v.(type) {
	case string:
		return q.text(x)
	case json.Number:
		return q.number(x)
	case bool:
		return q.is("boolean") && q.enum == nil && (q.yes == nil || *q.yes == x)
	case map[string]any:
		return q.object(x)
	case []any:
		return q.list(x)
	}
	return false
}

func (q *quickCheck) is(typ string) bool { return q.types == nil || q.types[typ] }

func (q *quickCheck) text(s string) bool {
	if !q.is("string") || q.yes != nil || q.enum != nil && !q.enum[s] {
		return false
	}
	if q.minLength > 0 || q.maxLength >= 0 {
		n := utf8.RuneCountInString(s)
		if n < q.minLength || q.maxLength >= 0 && n > q.maxLength {
			return false
		}
	}
	return (q.pattern == nil || q.pattern.MatchString(s)) && (q.format == nil || q.format(s))
}

func (q *quickCheck) number(n json.Number) bool {
	if q.enum != nil || q.yes != nil || !q.is("number") && !(q.is("integer") && digits(string(n))) {
		return false
	}
	if q.min == nil && q.max == nil {
		return true
	}
	f, err := n.Float64()
	// Near a bound the library decides, which counts exactly.
	const margin = 1e-9
	return err == nil && (q.min == nil || f >= *q.min+margin || f == *q.min && digits(string(n))) && (q.max == nil || f <= *q.max-margin || f == *q.max && digits(string(n)))
}

func (q *quickCheck) object(m map[string]any) bool {
	if !q.is("object") || q.enum != nil || q.yes != nil || q.properties == nil {
		return false
	}
	for name, v := range m {
		p := q.properties[name]
		if p == nil && !q.open || p != nil && !p.accepts(v) {
			return false
		}
		for _, need := range q.needs[name] {
			if _, ok := m[need]; !ok {
				return false
			}
		}
	}
	if !hasAll(m, q.required) {
		return false
	}
	return (len(q.anyOf) == 0 || count(m, q.anyOf) > 0) && (len(q.oneOf) == 0 || count(m, q.oneOf) == 1)
}

func hasAll(m map[string]any, names []string) bool {
	for _, name := range names {
		if _, ok := m[name]; !ok {
			return false
		}
	}
	return true
}

func count(m map[string]any, lists [][]string) int {
	n := 0
	for _, names := range lists {
		if hasAll(m, names) {
			n++
		}
	}
	return n
}

func (q *quickCheck) list(list []any) bool {
	if !q.is("array") || q.enum != nil || q.yes != nil || q.items == nil || len(list) < q.minItems {
		return false
	}
	for i, v := range list {
		if !q.items.accepts(v) {
			return false
		}
		if !q.unique {
			continue
		}
		s, ok := v.(string)
		if !ok {
			return false
		}
		for _, earlier := range list[:i] {
			if earlier == any(s) {
				return false
			}
		}
	}
	return true
}
