package path

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofhir/fhirpath"
	"github.com/gofhir/fhirpath/eval"
	"github.com/gofhir/fhirpath/types"

	"trellis/fhir"
)

// Bounds of an invariant. Whoever may store a StructureDefinition may write one, so its text is input like any other.
const (
	maxInvariant   = 4000 // characters
	maxBrackets    = 24   // open at once; the parser's time grows with them
	maxCollection  = 10_000
	maxRemembered  = 5000
	maxRepeats     = 12       // objects in each other that repeat() is written out for
	maxHeavy       = 64 << 10 // bytes that an expression looks at whose time grows with their square
	maxJoined      = 8 << 10  // bytes that an expression looks at which makes texts of texts, or many values of one
	maxJoins       = 3        // times that one may do so: each can double what there is
	maxWork        = 64 << 20 // calls by bytes: the library looks at the clock between calls only
	maxExponent    = 100      // of a number: the library writes it out
	evaluationTime = 250 * time.Millisecond
)

// ErrUnevaluated is returned where an expression gives no answer that can be relied on: it cannot be read, it calls what the
// library does not really do, or the resource has what the library cannot see. It never means that the expression is false.
var ErrUnevaluated = errors.New("path: the expression could not be evaluated")

// An Invariant is the expression of a constraint (https://hl7.org/fhir/R4/conformance-rules.html#constraints), which is
// to be true of an element. It is safe for concurrent use.
type Invariant struct {
	compiled  *fhirpath.Expression
	extension bool // it looks at extensions
	logic     bool // it joins conditions
	outside   bool // it names %resource or another variable
	matches   bool
	repeats   bool
	heavy     bool // the library's time grows with the square of what it looks at, and it does not look at the clock
	joins     bool // it makes texts of texts, or many values of one
	calls     int
}

// Read compiles an expression, and remembers it. The error is ErrUnevaluated.
func (e *Evaluator) Read(text string) (*Invariant, error) {
	if len(text) > maxInvariant { // not worth its place among those remembered
		return nil, ErrUnevaluated
	}
	e.mu.Lock()
	in, known := e.read[text]
	e.mu.Unlock()
	if !known {
		in, _ = readInvariant(text) // nil says as much as the error
		e.mu.Lock()
		if len(e.read) >= maxRemembered {
			clear(e.read)
		}
		e.read[text] = in
		e.mu.Unlock()
	}
	if in == nil {
		return nil, ErrUnevaluated
	}
	return in, nil
}

func readInvariant(text string) (in *Invariant, err error) {
	defer func() {
		if recover() != nil { // the library's parser on a text nobody tried
			in, err = nil, ErrUnevaluated
		}
	}()
	if _, ok := called(text); !ok {
		return nil, ErrUnevaluated
	}
	text, repeats, ok := rewritten(text)
	if !ok {
		return nil, ErrUnevaluated
	}
	calls, _ := called(text)
	for _, name := range calls {
		switch name {
		case "trace", "repeat", "memberOf", "conformsTo", "htmlChecks", "elementDefinition", "slice", "checkModifiers":
			return nil, ErrUnevaluated // as rewritten says of the first two; the others need services or are not there
		case "aggregate", "replace", "replaceMatches":
			return nil, ErrUnevaluated // a short expression can make a text of any length
		case "round", "power", "exp", "lowBoundary", "highBoundary", "toDecimal", "convertsToDecimal", "toQuantity", "convertsToQuantity":
			return nil, ErrUnevaluated // the library writes out as many digits as it is told to, whatever the clock says
		}
	}
	compiled, err := fhirpath.Compile(text)
	if err != nil {
		return nil, ErrUnevaluated
	}
	in = &Invariant{compiled: compiled, extension: strings.Contains(text, "xtension"), outside: strings.Contains(text, "%"), repeats: repeats, heavy: strings.Contains(text, "|"), calls: 1 + len(calls)}
	joins := additions(text)
	for _, word := range strings.FieldsFunc(text, notOfName) {
		in.logic = in.logic || word == "and" || word == "or" || word == "xor" || word == "implies"
	}
	for _, name := range calls {
		switch name {
		case "matches", "replaceMatches":
			in.matches = true
		case "descendants", "distinct", "isDistinct", "intersect", "exclude", "subsetOf", "supersetOf", "union":
			in.heavy = true
		case "join", "split", "toChars":
			joins++
		}
	}
	if in.joins = joins > 0; joins > maxJoins {
		return nil, ErrUnevaluated
	}
	return in, nil
}

// additions counts what adds texts or numbers, or multiplies those: exponents double.
func additions(text string) int {
	n := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\'', '`', '"':
			i = closing(text, i)
		case '&', '+', '*':
			n++
		}
	}
	return n
}

// called lists the functions an expression calls, and says whether it keeps to the bounds.
func called(text string) ([]string, bool) {
	if text == "" || len(text) > maxInvariant {
		return nil, false
	}
	var out []string
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\'', '`', '"':
			if i = closing(text, i); i >= len(text) {
				return nil, false
			}
		case '(', '[', '{':
			if depth++; depth > maxBrackets {
				return nil, false
			}
			if before := strings.Trim(text[:i], " \t\r\n`"); c == '(' {
				out = append(out, before[1+strings.LastIndexFunc(before, notOfName):])
			}
		case ')', ']', '}':
			depth--
		case '/':
			if i+1 < len(text) && (text[i+1] == '/' || text[i+1] == '*') {
				return nil, false // a comment could hide what is called
			}
		}
	}
	return out, true
}

func notOfName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r >= '0' && r <= '9')
}

// Subject is what an invariant is about.
type Subject struct {
	Resource fhir.Node // the resource the element belongs to: %resource
	Root     fhir.Node // what that stands in, or the same: %rootResource
	Element  fhir.Node // $this and %context
	Type     string    // of the element: a data type, a resource type, or the path of a part as in "Observation.component"
	// Resolve finds what a reference points to. It may know no more than the type, and give a resource of nothing else; what it
	// gives nothing for makes the invariant's answer unreliable.
	Resolve func(reference string) []byte
}

// Evaluator evaluates invariants by what R4 says of types. It is safe for concurrent use. Make one with NewEvaluator.
type Evaluator struct {
	model *model
	regex chan struct{} // the library's cache of regular expressions is written while it is read

	mu   sync.Mutex
	read map[string]*Invariant // nil for what cannot be read
}

// NewEvaluator makes an evaluator.
func NewEvaluator() *Evaluator {
	return &Evaluator{model: &model{known: map[string]map[string]modelElement{}}, regex: make(chan struct{}, 1), read: map[string]*Invariant{}}
}

// Holds reports whether the invariant is true of the subject. An empty answer is not true; but where conditions are joined,
// the library finds an element that exists neither true nor false and answers with nothing, so that nothing is known. The
// error is ErrUnevaluated.
func (e *Evaluator) Holds(ctx context.Context, in *Invariant, s Subject) (holds bool, err error) {
	defer func() {
		if recover() != nil { // the library, on an expression or a resource nobody tried
			holds, err = false, ErrUnevaluated
		}
	}()
	if ctx.Err() != nil || in.tooLarge(s.Element) || in.outside && in.tooLarge(s.Root) {
		return false, ErrUnevaluated
	}
	if in.extension && extendsValue(s.Element) {
		return false, ErrUnevaluated // the library does not see extensions of primitive values
	}
	if in.repeats && (depth(s.Element) > maxRepeats || in.outside && depth(s.Root) > maxRepeats) {
		return false, ErrUnevaluated
	}
	if in.matches {
		select {
		case e.regex <- struct{}{}:
			defer func() { <-e.regex }()
		case <-ctx.Done():
			return false, ErrUnevaluated
		}
	}
	ctx, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	this := types.Collection{value(s.Element, s.Type)}
	c := eval.NewContext(nil).WithThis(this)
	c.SetVariable("context", this)
	if in.outside {
		c.SetVariable("resource", types.Collection{value(s.Resource, "")})
		c.SetVariable("rootResource", types.Collection{value(s.Root, "")})
	}
	for name, url := range map[string]string{"ucum": "http://unitsofmeasure.org", "sct": fhir.SystemSNOMED, "loinc": fhir.SystemLOINC} {
		c.SetVariable(name, types.Collection{types.NewString(url)})
	}
	c.SetLimit("maxDepth", maxBrackets)
	c.SetLimit("maxCollectionSize", maxCollection)
	c.SetContext(ctx)
	c.SetModel(e.model)
	c.SetPath(s.Type)
	known := &resolver{find: s.Resolve, in: in}
	c.SetResolver(known)
	found, err := in.compiled.EvaluateWithContext(c)
	if err != nil || ctx.Err() != nil || known.failed {
		return false, ErrUnevaluated
	}
	if len(found) == 0 && in.logic {
		return false, ErrUnevaluated
	}
	return truth(found)
}

// tooLarge reports whether what the expression looks at is more than the library can be trusted with.
func (in *Invariant) tooLarge(n fhir.Node) bool {
	size := len(n.Raw())
	switch {
	case in.joins && size > maxJoined, (in.heavy || in.matches) && size > maxHeavy, in.calls*size > maxWork:
		return true
	}
	return outsized(n)
}

// outsized reports whether there is a number in it with more digits than anybody measures.
func outsized(n fhir.Node) bool {
	if n.Kind == '0' {
		text := n.Text()
		i := strings.IndexAny(text, "eE")
		if i < 0 {
			return len(text) > maxExponent
		}
		exponent, err := strconv.Atoi(text[i+1:])
		return err != nil || exponent > maxExponent || exponent < -maxExponent || i > maxExponent
	}
	return slices.ContainsFunc(n.Items, outsized) || slices.ContainsFunc(n.Members, func(m fhir.Member) bool { return outsized(m.Value) })
}

// truth is an answer as a constraint reads it: one value that is no boolean counts as true, none as false.
func truth(found types.Collection) (bool, error) {
	if len(found) == 0 {
		return false, nil
	}
	if len(found) > 1 {
		return false, ErrUnevaluated
	}
	if b, ok := found[0].(types.Boolean); ok {
		return b.Bool(), nil
	}
	return true, nil
}

// resolver answers resolve(). It remembers whether something could not be found, or is too large.
type resolver struct {
	find   func(reference string) []byte
	in     *Invariant
	failed bool
}

// Resolve implements the library's eval.Resolver.
func (r *resolver) Resolve(_ context.Context, reference string) ([]byte, error) {
	if r.find != nil {
		doc := r.find(reference)
		if n, err := fhir.ParseJSON(doc); err == nil && !r.in.tooLarge(n) {
			return doc, nil
		}
	}
	r.failed = true
	return nil, ErrUnevaluated
}

// extendsValue reports whether a primitive value somewhere in the element is extended.
func extendsValue(n fhir.Node) bool {
	found := false
	n.Walk(func(object fhir.Node) {
		for _, m := range object.Members {
			if plain, ok := strings.CutPrefix(m.Name, "_"); ok && !object.Get(plain).IsZero() {
				found = true
			}
		}
	})
	return found
}
