package terminology

import (
	"slices"
	"strings"
	"sync"

	"trellis/fhir"
)

// Library is what can be asked: an immutable set of systems, value sets and maps. It is safe for concurrent use.
type Library struct {
	systems map[string][]*CodeSystem // by URL, the latest version first
	sets    map[string][]*ValueSet
	maps    []*ConceptMap
	byID    map[fhir.Reference]any
	whole   map[string]*CodeSystem // by the value set of all codes

	mu       sync.Mutex
	expanded map[*ValueSet]*expansion
}

// NewLibrary puts definitions together. Of several with one URL the last version counts where none is asked for; given
// definitions come before built-in ones of the same URL.
func NewLibrary(builtin []*CodeSystem, systems []*CodeSystem, sets []*ValueSet, maps []*ConceptMap) *Library {
	l := &Library{systems: map[string][]*CodeSystem{}, sets: map[string][]*ValueSet{}, maps: slices.Clone(maps), byID: map[fhir.Reference]any{},
		whole: map[string]*CodeSystem{}, expanded: map[*ValueSet]*expansion{}}
	for _, cs := range systems {
		l.systems[cs.URL] = append(l.systems[cs.URL], cs)
		l.byID[fhir.Reference{Type: "CodeSystem", ID: cs.ID}] = cs
	}
	for _, vs := range sets {
		l.sets[vs.URL] = append(l.sets[vs.URL], vs)
		l.byID[fhir.Reference{Type: "ValueSet", ID: vs.ID}] = vs
	}
	for _, m := range maps {
		l.byID[fhir.Reference{Type: "ConceptMap", ID: m.ID}] = m
	}
	slices.SortFunc(l.maps, func(a, b *ConceptMap) int { return strings.Compare(a.URL+" "+a.ID, b.URL+" "+b.ID) })
	for _, cs := range builtin {
		if len(l.systems[cs.URL]) == 0 {
			l.systems[cs.URL] = []*CodeSystem{cs}
		}
	}
	for _, list := range l.systems {
		slices.SortFunc(list, func(a, b *CodeSystem) int { return later(a.Version, a.ID, b.Version, b.ID) })
		if list[0].ValueSet != "" {
			l.whole[list[0].ValueSet] = list[0]
		}
	}
	for _, list := range l.sets {
		slices.SortFunc(list, func(a, b *ValueSet) int { return later(a.Version, a.ID, b.Version, b.ID) })
	}
	return l
}

// later orders versions from the last to the first, numbers in them as numbers.
func later(versionA, idA, versionB, idB string) int {
	a, b := strings.FieldsFunc(versionA, notDigitOrLetter), strings.FieldsFunc(versionB, notDigitOrLetter)
	for i := range min(len(a), len(b)) {
		x, y := strings.TrimLeft(a[i], "0"), strings.TrimLeft(b[i], "0")
		if len(x) != len(y) {
			return len(y) - len(x)
		}
		if c := strings.Compare(y, x); c != 0 {
			return c
		}
	}
	if len(a) != len(b) {
		return len(b) - len(a)
	}
	return strings.Compare(idA, idB)
}

func notDigitOrLetter(r rune) bool {
	return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
}

func unknown(what string) error {
	return fhir.NewProblem(fhir.NotFound, "not-found", "this server does not hold the "+what)
}

func unsupported(text string) error {
	return fhir.NewProblem(fhir.Unprocessable, "not-supported", text)
}

// canonical takes |version off a URL; a version given apart counts before it.
func canonical(url, version string) (string, string) {
	url, piped, _ := strings.Cut(url, "|")
	if version == "" {
		version = piped
	}
	return url, version
}

// System finds a code system by URL, with |version or a version apart; without one, the last.
func (l *Library) System(url, version string) (*CodeSystem, error) {
	url, version = canonical(url, version)
	for _, cs := range l.systems[url] {
		if version == "" || cs.Version == version {
			return cs, nil
		}
	}
	return nil, unknown("code system")
}

// Set finds a value set by URL, with |version or a version apart. The value set of all codes of a system needs no
// resource: it is what CodeSystem.valueSet names, or the system with ?fhir_vs, or with ?fhir_vs=isa/code those below.
func (l *Library) Set(url, version string) (*ValueSet, error) {
	url, version = canonical(url, version)
	for _, vs := range l.sets[url] {
		if version == "" || vs.Version == version {
			return vs, nil
		}
	}
	if cs := l.whole[url]; cs != nil && (version == "" || cs.Version == version) {
		return &ValueSet{URL: url, Version: cs.Version, inactive: true, include: []clause{{system: cs.URL}}}, nil
	}
	if system, rest, ok := strings.Cut(url, "?fhir_vs"); ok && len(l.systems[system]) > 0 {
		c := clause{system: system}
		if code, isa := strings.CutPrefix(rest, "=isa/"); isa {
			c.filters = []filter{{"concept", "is-a", code}}
		} else if rest != "" {
			return nil, unsupported("this kind of implicit value set is not offered")
		}
		return &ValueSet{URL: url, inactive: true, include: []clause{c}}, nil
	}
	return nil, unknown("value set")
}

// ByID finds a definition that came as a resource: a *CodeSystem, *ValueSet or *ConceptMap.
func (l *Library) ByID(ref fhir.Reference) (any, bool) {
	v, ok := l.byID[ref]
	return v, ok
}

// Lookup finds a code.
func (l *Library) Lookup(system, version, code string) (*CodeSystem, *Concept, error) {
	cs, err := l.System(system, version)
	if err != nil {
		return nil, nil, err
	}
	c, ok := cs.Concept(code)
	if !ok {
		return cs, nil, unknown("code in the code system")
	}
	return cs, c, nil
}

// Below lists the codes a code subsumes, itself included.
func (l *Library) Below(system, code string) ([]string, error) {
	cs, c, err := l.Lookup(system, "", code)
	if err != nil {
		return nil, err
	}
	return codesOf(cs.below(c)), nil
}

// Above lists the codes that subsume a code, itself included.
func (l *Library) Above(system, code string) ([]string, error) {
	cs, c, err := l.Lookup(system, "", code)
	if err != nil {
		return nil, err
	}
	return codesOf(cs.above(c)), nil
}

func codesOf(list []*Concept) []string {
	out := make([]string, 0, len(list))
	for _, c := range list {
		out = append(out, c.Code)
	}
	return out
}

// Subsumes says how two codes of a system stand to each other, in the words of
// http://hl7.org/fhir/concept-subsumption-outcome.
func (l *Library) Subsumes(cs *CodeSystem, a, b string) (string, error) {
	first, okA := cs.Concept(a)
	second, okB := cs.Concept(b)
	switch {
	case !okA || !okB:
		return "", unknown("code in the code system")
	case first == second:
		return "equivalent", nil
	case slices.Contains(cs.below(first), second):
		return "subsumes", nil
	case slices.Contains(cs.below(second), first):
		return "subsumed-by", nil
	}
	return "not-subsumed", nil
}
