package fhir

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds nesting of a JSON document; real resources stay below 20.
const maxDepth = 64

// Node is one JSON value of a document together with the bytes it came from, so
// that a value can be read, copied verbatim or cut out without re-encoding the rest.
type Node struct {
	Kind    byte // one of { [ " 0 t f n
	Start   int  // offset of the first byte in the document
	End     int  // offset after the last byte
	Members []Member
	Items   []Node
	raw     []byte
}

// Member is one name and value of a JSON object, in document order.
type Member struct {
	Name  string
	Start int // offset of the name's opening quote
	Value Node
}

// errTooDeep is returned for documents nested deeper than any FHIR resource.
var errTooDeep = errors.New("fhir: JSON nested too deeply")

// ParseJSON reads exactly one JSON value. Duplicate names, invalid UTF-8 and
// trailing data are errors (RFC 8259 section 4 leaves them open; FHIR does not).
func ParseJSON(doc []byte) (Node, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(doc))
	n, err := readNode(dec, doc, 0)
	if err != nil {
		return Node{}, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Node{}, errors.New("fhir: data after the JSON value")
	}
	return n, nil
}

func readNode(dec *jsontext.Decoder, doc []byte, depth int) (Node, error) {
	if depth > maxDepth {
		return Node{}, errTooDeep
	}
	switch kind := dec.PeekKind(); kind {
	case '{':
		return readObject(dec, doc, depth)
	case '[':
		return readArray(dec, doc, depth)
	default:
		v, err := dec.ReadValue()
		if err != nil {
			return Node{}, err
		}
		end := int(dec.InputOffset())
		return Node{Kind: byte(kind), Start: end - len(v), End: end, raw: doc}, nil
	}
}

func readObject(dec *jsontext.Decoder, doc []byte, depth int) (Node, error) {
	if _, err := dec.ReadToken(); err != nil {
		return Node{}, err
	}
	n := Node{Kind: '{', Start: int(dec.InputOffset()) - 1, raw: doc}
	for dec.PeekKind() == '"' {
		tok, err := dec.ReadToken()
		if err != nil {
			return Node{}, err
		}
		name := tok.String()
		start := int(dec.InputOffset()) - nameLength(doc, int(dec.InputOffset()))
		value, err := readNode(dec, doc, depth+1)
		if err != nil {
			return Node{}, err
		}
		n.Members = append(n.Members, Member{Name: name, Start: start, Value: value})
	}
	if _, err := dec.ReadToken(); err != nil {
		return Node{}, err
	}
	n.End = int(dec.InputOffset())
	return n, nil
}

// nameLength walks back from the closing quote of a member name to its opening quote.
func nameLength(doc []byte, end int) int {
	for i := end - 2; i >= 0; i-- {
		if doc[i] == '"' && !escaped(doc, i) {
			return end - i
		}
	}
	return end
}

func escaped(doc []byte, i int) bool {
	n := 0
	for i--; i >= 0 && doc[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

func readArray(dec *jsontext.Decoder, doc []byte, depth int) (Node, error) {
	if _, err := dec.ReadToken(); err != nil {
		return Node{}, err
	}
	n := Node{Kind: '[', Start: int(dec.InputOffset()) - 1, raw: doc}
	for {
		switch dec.PeekKind() {
		case ']':
			if _, err := dec.ReadToken(); err != nil {
				return Node{}, err
			}
			n.End = int(dec.InputOffset())
			return n, nil
		default:
			item, err := readNode(dec, doc, depth+1)
			if err != nil {
				return Node{}, err
			}
			n.Items = append(n.Items, item)
		}
	}
}

// Raw is the value's own bytes in the document; it must not be changed.
func (n Node) Raw() []byte {
	if n.raw == nil {
		return nil
	}
	return n.raw[n.Start:n.End]
}

// IsZero reports whether the node is absent (not JSON null).
func (n Node) IsZero() bool { return n.Kind == 0 }

// Get is the value of the named member, or the zero Node.
func (n Node) Get(name string) Node {
	for i := range n.Members {
		if n.Members[i].Name == name {
			return n.Members[i].Value
		}
	}
	return Node{}
}

// Path follows member names; an array on the way stands for its first item.
func (n Node) Path(names ...string) Node {
	for _, name := range names {
		if n.Kind == '[' {
			if len(n.Items) == 0 {
				return Node{}
			}
			n = n.Items[0]
		}
		n = n.Get(name)
	}
	return n
}

// List is the items of an array, the node itself when it is any other value, and nothing when absent.
func (n Node) List() []Node {
	switch n.Kind {
	case 0:
		return nil
	case '[':
		return n.Items
	default:
		return []Node{n}
	}
}

// Text is the decoded value of a string, the literal of a number or boolean, and "" for anything else.
func (n Node) Text() string {
	switch n.Kind {
	case '"':
		raw := n.Raw()
		if bytes.IndexByte(raw, '\\') < 0 {
			return string(raw[1 : len(raw)-1])
		}
		out, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return ""
		}
		return string(out)
	case '0', 't', 'f':
		return string(n.Raw())
	default:
		return ""
	}
}

// Walk visits every object in the value, outermost first.
func (n Node) Walk(visit func(Node)) {
	switch n.Kind {
	case '{':
		visit(n)
		for i := range n.Members {
			n.Members[i].Value.Walk(visit)
		}
	case '[':
		for i := range n.Items {
			n.Items[i].Walk(visit)
		}
	}
}

// Quote is s as a JSON string with its quotes.
func Quote(s string) []byte {
	out, err := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return []byte(`""`)
	}
	return out
}
