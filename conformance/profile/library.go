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
	maxMade     = 4 * maxElements // with those a differential stands on, and makes
	maxElement  = 64 << 10        // bytes of one
	maxValue    = 8 << 10         // bytes of a value it asks for: lists are compared item by item
	maxPath     = 1000
)

// ErrUnknown is returned for a profile that the library does not hold.
var ErrUnknown = errors.New("profile: not held")

// A Refusal says why a definition is held and cannot be checked by.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return "profile: " + r.Reason }

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// A Definition is a StructureDefinition that has not been looked at yet.
type Definition struct {
	url, version, typ, id string
	doc                   []byte
}

// ReadDefinition takes a StructureDefinition resource.
func ReadDefinition(r *fhir.Resource) *Definition {
	return &Definition{r.Root.Get("url").Text(), r.Root.Get("version").Text(), r.Root.Get("type").Text(), r.ID, r.JSON}
}

// Library is a set of StructureDefinitions. It is immutable but for what it compiles when it is asked, and safe for
// concurrent use.
type Library struct {
	byURL map[string][]*definition // the latest version first

	mu sync.Mutex // held while something is compiled
}

type definition struct {
	*Definition
	state    int // of compiling
	compiled *Profile
	err      error
}

// States of a definition.
const (
	untouched = iota
	compiling
	compiled
)

// NewLibrary puts definitions together. Of several with one URL the latest version counts where none is asked for.
func NewLibrary(definitions []*Definition) *Library {
	l := &Library{byURL: map[string][]*definition{}}
	for _, d := range definitions {
		if d.url != "" {
			l.byURL[d.url] = append(l.byURL[d.url], &definition{Definition: d})
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
func (l *Library) Find(canonical string) (*Profile, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.find(canonical)
}

// beside is Find for a canonical that another profile names: without a version, that of the other profile is the first choice,
// because a guide's profiles are released together.
func (l *Library) beside(p *Profile, canonical string) (*Profile, error) {
	if own := canonical + "|" + p.Version; p.Version != "" && !strings.Contains(canonical, "|") && l.definition(own) != nil {
		return l.Find(own)
	}
	return l.Find(canonical)
}

// find is Find for who holds the lock.
func (l *Library) find(canonical string) (*Profile, error) {
	d := l.definition(canonical)
	switch {
	case d == nil:
		return nil, ErrUnknown
	case d.state == compiling:
		return nil, refuse("it stands on itself")
	case d.state == untouched:
		d.state = compiling
		if root, err := fhir.ParseJSON(d.doc); err != nil {
			d.err = refuse("it cannot be read")
		} else {
			d.compiled, d.err = l.compile(root)
		}
		d.state = compiled
	}
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
		return d.typ
	}
	url, _, _ := strings.Cut(canonical, "|")
	if name, ok := strings.CutPrefix(url, base); ok && (fhir.KnownType(name) || name == "Resource" || name == "DomainResource" || fhir.DataTypeElements(name) != nil) {
		return name
	}
	return ""
}

func (l *Library) compile(root fhir.Node) (*Profile, error) {
	p := &Profile{URL: root.Get("url").Text(), Version: root.Get("version").Text(), Type: root.Get("type").Text()}
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
		p.root, err = l.fromDifferential(root, list)
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
		if err := bounded(n); err != nil {
			return nil, err
		}
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

// bounded refuses an element that asks for more than there is time for: the clock is looked at between elements.
func bounded(n fhir.Node) error {
	large := len(n.Raw()) > maxElement || len(n.Get("path").Text()) > maxPath || len(n.Get("id").Text()) > maxPath
	for _, m := range n.Members {
		asked := strings.HasPrefix(m.Name, "fixed") || strings.HasPrefix(m.Name, "pattern")
		large = large || asked && len(m.Value.Raw()) > maxValue
	}
	if large {
		return refuse("an element of it is too large")
	}
	return nil
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
	if c.sliceName == "" {
		e.children = append(e.children, c)
		return
	}
	all := &element{id: c.path, max: unbounded, types: c.types, slices: []*element{c}}
	all.named(c.path)
	e.children = append(e.children, all)
}
