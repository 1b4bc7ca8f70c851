package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"trellis/fhir"
)

// base begins the canonical URLs of R4's own types.
const base = "http://hl7.org/fhir/StructureDefinition/"

// Bounds of a definition.
const (
	maxElements = 5000
	maxBases    = 10 // of a differential, one above the other
)

// ErrUnknown is returned for a profile that the library does not hold.
var ErrUnknown = errors.New("profile: not held")

// A Refusal says why a definition is held and cannot be checked by.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return "profile: " + r.Reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// Library is a set of StructureDefinitions. It is immutable but for what it compiles when it is asked, and safe for
// concurrent use.
type Library struct {
	byURL map[string][]*definition // the latest version first
}

type definition struct {
	root     fhir.Node
	version  string
	id       string
	once     sync.Once
	compiled *Profile
	err      error
}

// NewLibrary takes StructureDefinition resources. What is none is left out.
func NewLibrary(definitions []*fhir.Resource) *Library {
	l := &Library{byURL: map[string][]*definition{}}
	for _, r := range definitions {
		if url := r.Root.Get("url").Text(); r.Type == "StructureDefinition" && url != "" {
			l.byURL[url] = append(l.byURL[url], &definition{root: r.Root, version: r.Root.Get("version").Text(), id: r.ID})
		}
	}
	for _, list := range l.byURL {
		slices.SortStableFunc(list, func(a, b *definition) int {
			if c := compareVersions(b.version, a.version); c != 0 {
				return c
			}
			return strings.Compare(a.id, b.id)
		})
	}
	return l
}

// compareVersions orders versions, numbers in them as numbers.
func compareVersions(a, b string) int {
	x, y := strings.FieldsFunc(a, notOfVersion), strings.FieldsFunc(b, notOfVersion)
	for i := range min(len(x), len(y)) {
		m, errM := strconv.Atoi(x[i])
		n, errN := strconv.Atoi(y[i])
		if errM == nil && errN == nil {
			if m != n {
				return m - n
			}
			continue
		}
		if c := strings.Compare(x[i], y[i]); c != 0 {
			return c
		}
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b)
}

func notOfVersion(r rune) bool {
	return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
}

// Canonicals lists what the library holds, with versions, in order.
func (l *Library) Canonicals() []string {
	var out []string
	for url, list := range l.byURL {
		for _, d := range list {
			out = append(out, (&Profile{URL: url, Version: d.version}).Canonical())
		}
	}
	slices.Sort(out)
	return out
}

// Find gets a profile by its canonical URL, that version where |version follows it and the latest otherwise. The error is
// ErrUnknown, or a *Refusal of a definition that is held.
func (l *Library) Find(canonical string) (*Profile, error) { return l.find(canonical, 0) }

// beside is Find for a canonical that another profile names: without a version, that of the other profile is the first choice,
// because a guide's profiles are released together.
func (l *Library) beside(p *Profile, canonical string) (*Profile, error) {
	if own := canonical + "|" + p.Version; p.Version != "" && !strings.Contains(canonical, "|") && l.definition(own) != nil {
		return l.Find(own)
	}
	return l.Find(canonical)
}

func (l *Library) find(canonical string, depth int) (*Profile, error) {
	d := l.definition(canonical)
	if d == nil {
		return nil, ErrUnknown
	}
	if depth > maxBases {
		return nil, refuse("its base definitions stand on each other in a circle, or too many of them")
	}
	d.once.Do(func() { d.compiled, d.err = l.compile(d.root, depth) })
	return d.compiled, d.err
}

func (l *Library) definition(canonical string) *definition {
	url, version, _ := strings.Cut(canonical, "|")
	for _, d := range l.byURL[url] {
		if version == "" || d.version == version {
			return d
		}
	}
	return nil
}

// typeOf is the type a profile constrains, "" when it is not known.
func (l *Library) typeOf(canonical string) string {
	if d := l.definition(canonical); d != nil {
		return d.root.Get("type").Text()
	}
	url, _, _ := strings.Cut(canonical, "|")
	if name, ok := strings.CutPrefix(url, base); ok && (fhir.KnownType(name) || name == "Resource" || name == "DomainResource" || fhir.DataTypeElements(name) != nil) {
		return name
	}
	return ""
}

func (l *Library) compile(root fhir.Node, depth int) (*Profile, error) {
	p := &Profile{URL: root.Get("url").Text(), Version: root.Get("version").Text(), Name: root.Get("name").Text(), Type: root.Get("type").Text(),
		Kind: root.Get("kind").Text(), Derivation: root.Get("derivation").Text()}
	if v := root.Get("fhirVersion").Text(); v != "" && !strings.HasPrefix(v, "4.0") {
		return nil, refuse("it is for another version of FHIR than R4")
	}
	if p.Type == "" {
		return nil, refuse("it does not say which type it constrains")
	}
	var err error
	if list := root.Path("snapshot").Get("element").List(); len(list) > 0 {
		p.root, err = fromSnapshot(list)
	} else if list := root.Path("differential").Get("element").List(); len(list) > 0 {
		p.root, err = l.fromDifferential(root, list, depth)
	} else {
		err = refuse("it has neither a snapshot nor a differential")
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// fromSnapshot builds the tree of a snapshot. Its elements come in the order of the tree, those of a slice after it.
func fromSnapshot(list []fhir.Node) (*element, error) {
	if len(list) > maxElements {
		return nil, refuse("it has more than %d elements", maxElements)
	}
	var stack []*element
	for _, n := range list {
		e := &element{max: unbounded, id: n.Get("id").Text(), sliceName: n.Get("sliceName").Text()}
		path := n.Get("path").Text()
		if path == "" {
			return nil, refuse("an element of its snapshot has no path")
		}
		e.named(path)
		e.merge(n)
		if e.id == "" {
			e.id = path
		}
		depth := strings.Count(path, ".")
		if depth == 0 {
			if len(stack) > 0 {
				return nil, refuse("its snapshot has two roots")
			}
			stack = append(stack, e)
			continue
		}
		if len(stack) == 0 || depth > len(stack) {
			return nil, refuse("the element %s of its snapshot stands without the one above it", path)
		}
		stack = stack[:depth]
		parent := stack[depth-1]
		if parent.path != path[:strings.LastIndexByte(path, '.')] {
			return nil, refuse("the element %s of its snapshot stands without the one above it", path)
		}
		parent.put(e)
		stack = append(stack, e)
	}
	if len(stack) == 0 {
		return nil, refuse("its snapshot is empty")
	}
	return stack[0], nil
}

// put adds an element below another, or as a slice of one that is there. A slice of a slice is named after it: outer/inner.
func (e *element) put(c *element) {
	for _, sliced := range e.children {
		if c.sliceName == "" || sliced.name != c.name || sliced.choice != c.choice {
			continue
		}
		for _, s := range sliced.slices {
			if strings.HasPrefix(c.sliceName, s.sliceName+"/") {
				s.slices = append(s.slices, c)
				return
			}
		}
		sliced.slices = append(sliced.slices, c)
		return
	}
	e.children = append(e.children, c)
}
