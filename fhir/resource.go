package fhir

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/fhir/go/fhirversion"
	"github.com/google/fhir/go/jsonformat"
)

// MaxResourceBytes is the largest single resource accepted.
const MaxResourceBytes = 8 << 20

// Resource is one structurally valid R4 resource: compact JSON, its type and id, and the view of its bytes.
type Resource struct {
	Type string
	ID   string // "" when the sender gave none
	JSON []byte
	Root Node
}

// Parser checks that bytes are R4 resources. It is safe for concurrent use and costly to make, so make one.
type Parser struct {
	unmarshal *jsonformat.Unmarshaller
}

// NewParser prepares google/fhir for R4.
func NewParser() (*Parser, error) {
	u, err := jsonformat.NewUnmarshaller("UTC", fhirversion.R4)
	if err != nil {
		return nil, fmt.Errorf("fhir: preparing google/fhir: %w", err)
	}
	u.MaxNestingDepth = maxDepth
	return &Parser{unmarshal: u}, nil
}

// Parse reads one resource, refuses what is not structurally R4 (unknown elements, wrong types and
// cardinality, missing required elements, bad codes) and returns its compact form.
// The error is a *Problem whose texts hold element paths and never values.
func (p *Parser) Parse(doc []byte) (*Resource, error) {
	r, err := ReadTrusted(doc)
	if err != nil {
		return nil, err
	}
	if err := p.check(r); err != nil {
		return nil, structuralProblem(r.Type, err)
	}
	if r.ID != "" && !ValidID(r.ID) {
		return nil, NewProblem(Invalid, "value", "id must be 1 to 64 letters, digits, '-' or '.'").At(r.Type + ".id")
	}
	return r, nil
}

// ReadTrusted is Parse without the structural check: for bytes that were checked when they were stored or made.
func ReadTrusted(doc []byte) (*Resource, error) {
	if len(doc) > MaxResourceBytes {
		return nil, NewProblem(TooLarge, "too-costly", "the resource is larger than this server accepts")
	}
	value := jsontext.Value(append([]byte(nil), doc...))
	if err := value.Compact(); err != nil {
		return nil, NewProblem(Invalid, "structure", "the body is not well-formed JSON").Because(err)
	}
	root, err := ParseJSON(value)
	if err != nil {
		return nil, NewProblem(Invalid, "structure", "the body is not well-formed JSON").Because(err)
	}
	typ := root.Get("resourceType")
	if root.Kind != '{' || typ.Kind != '"' || !KnownType(typ.Text()) {
		return nil, NewProblem(Invalid, "structure", "resourceType is missing or is not an R4 resource type")
	}
	return &Resource{Type: typ.Text(), ID: root.Get("id").Text(), JSON: value, Root: root}, nil
}

// ValidID reports whether s is an R4 id ([A-Za-z0-9\-\.]{1,64}).
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

// structuralProblem turns google/fhir's text into issues. Its details may quote input in some cases,
// so only paths and the messages known to be free of values pass.
func structuralProblem(typ string, err error) *Problem {
	at := regexp.MustCompile(`^error at "([A-Za-z0-9_.\[\]]*)": (.*)$`)
	safe := regexp.MustCompile(`^(unknown field|missing required field "[A-Za-z0-9_\[\]]+"|expected [A-Za-z0-9 -]+|code type mismatch|invalid (code|date|instant|datetime|time|reference|integer|decimal|boolean|type|field)|unexpected reference|unknown resource type|invalid resource type|cannot accept multiple values for [A-Za-z0-9_]+ field|invalid reference to a [A-Za-z]+ resource, want [A-Za-z, \[\]]+|field exceeded the maximum nesting depth [0-9]+)$`)
	p := &Problem{Category: Invalid, cause: err}
	for _, line := range strings.Split(err.Error(), "\n") {
		issue := Issue{Code: "structure", Expression: typ, Text: "the resource is not valid R4"}
		if m := at.FindStringSubmatch(line); m != nil {
			issue.Expression = m[1]
			if safe.MatchString(m[2]) {
				issue.Text = m[2]
			}
			if strings.HasPrefix(m[2], "missing required") {
				issue.Code = "required"
			}
		}
		p.Issues = append(p.Issues, issue)
		if len(p.Issues) == 20 {
			break
		}
	}
	return p
}
