package mapping

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A yamlNode is the part of YAML that packs may use: maps, lists and scalars with their lines. Anchors, aliases, tags
// and merge keys are refused, so that what a file says stands where it is read.
type yamlNode struct {
	kind yamlKind
	line int
	text string // scalar as written, numbers exact
	keys []yamlKey
	kids []*yamlNode
}

type yamlKey struct {
	name string
	line int
}

type yamlKind int

const (
	yamlNull yamlKind = iota
	yamlString
	yamlNumber
	yamlBool
	yamlMap
	yamlList
)

// get returns the child under key, or nil.
func (n *yamlNode) get(key string) *yamlNode {
	for i, k := range n.keys {
		if k.name == key {
			return n.kids[i]
		}
	}
	return nil
}

// readYAML parses one file of a pack; on any fault it returns nil and has recorded why.
func readYAML(fsys fs.FS, file string, f *faults) *yamlNode {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		f.add(file, 0, "cannot be read")
		return nil
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		line, text := 0, strings.SplitN(err.Error(), "\n", 2)[0]
		var ye yaml.Error
		if errors.As(err, &ye) {
			text = ye.GetMessage()
			if t := ye.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
		}
		f.add(file, line, "is not YAML: %s", text)
		return nil
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		f.add(file, 0, "must hold exactly one YAML document")
		return nil
	}
	return convertYAML(parsed.Docs[0].Body, file, f)
}

func convertYAML(n ast.Node, file string, f *faults) *yamlNode {
	out := &yamlNode{}
	if t := n.GetToken(); t != nil && t.Position != nil {
		out.line = t.Position.Line
	}
	switch v := n.(type) {
	case *ast.MappingNode:
		out.kind = yamlMap
		for _, kv := range v.Values {
			out.addPair(kv, file, f)
		}
	case *ast.MappingValueNode:
		out.kind = yamlMap
		out.addPair(v, file, f)
	case *ast.SequenceNode:
		out.kind = yamlList
		for _, kid := range v.Values {
			out.kids = append(out.kids, convertYAML(kid, file, f))
		}
	case *ast.StringNode:
		out.kind, out.text = yamlString, v.Value
	case *ast.LiteralNode:
		out.kind, out.text = yamlString, v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		out.kind, out.text = yamlNumber, n.GetToken().Value
	case *ast.BoolNode:
		out.kind, out.text = yamlBool, n.GetToken().Value
	case *ast.NullNode:
		out.kind = yamlNull
	default:
		f.add(file, out.line, "anchors, aliases, tags and merge keys are not allowed in packs")
		out.kind = yamlNull
	}
	return out
}

func (n *yamlNode) addPair(kv *ast.MappingValueNode, file string, f *faults) {
	key := kv.Key.GetToken()
	name := key.Value
	for _, k := range n.keys {
		if k.name == name {
			f.add(file, key.Position.Line, "key %q stands twice", name)
			return
		}
	}
	if len(n.keys) == 0 {
		n.line = key.Position.Line
	}
	n.keys = append(n.keys, yamlKey{name, key.Position.Line})
	n.kids = append(n.kids, convertYAML(kv.Value, file, f))
}

// A section reads the known keys of one YAML map and faults the rest.
type section struct {
	node *yamlNode
	file string
	f    *faults
	seen map[string]bool
}

func newSection(n *yamlNode, file string, f *faults) *section {
	s := &section{node: n, file: file, f: f, seen: map[string]bool{}}
	if n != nil && n.kind != yamlMap {
		f.add(file, n.line, "must be a map")
		s.node = nil
	}
	return s
}

// line is where a key stands, or the map when it has none.
func (s *section) line(key string) int {
	if s.node == nil {
		return 0
	}
	for _, k := range s.node.keys {
		if k.name == key {
			return k.line
		}
	}
	return s.node.line
}

// child returns the value of key and marks it known; nil when it is not there.
func (s *section) child(key string) *yamlNode {
	s.seen[key] = true
	if s.node == nil {
		return nil
	}
	return s.node.get(key)
}

// str reads a scalar; required faults its absence.
func (s *section) str(key string, required bool) string {
	n := s.child(key)
	if n == nil {
		if required && s.node != nil {
			s.f.add(s.file, s.node.line, "key %q is missing", key)
		}
		return ""
	}
	switch n.kind {
	case yamlString, yamlNumber:
		return n.text
	}
	s.f.add(s.file, n.line, "key %q must be a text", key)
	return ""
}

// flag reads a boolean, false when absent.
func (s *section) flag(key string) bool {
	n := s.child(key)
	if n == nil {
		return false
	}
	if n.kind != yamlBool {
		s.f.add(s.file, n.line, "key %q must be true or false", key)
	}
	return n.text == "true"
}

// strs reads one text or a list of texts.
func (s *section) strs(key string) []string {
	n := s.child(key)
	if n == nil {
		return nil
	}
	if n.kind == yamlString {
		return []string{n.text}
	}
	if n.kind != yamlList {
		s.f.add(s.file, n.line, "key %q must be a text or a list of texts", key)
		return nil
	}
	var out []string
	for _, kid := range n.kids {
		if kid.kind != yamlString && kid.kind != yamlNumber {
			s.f.add(s.file, kid.line, "key %q must list texts", key)
			continue
		}
		out = append(out, kid.text)
	}
	return out
}

// list reads a list of anything.
func (s *section) list(key string) []*yamlNode {
	n := s.child(key)
	if n == nil {
		return nil
	}
	if n.kind != yamlList {
		s.f.add(s.file, n.line, "key %q must be a list", key)
		return nil
	}
	return n.kids
}

// done faults every key that nobody asked for.
func (s *section) done() {
	if s.node == nil {
		return
	}
	for _, k := range s.node.keys {
		if !s.seen[k.name] {
			s.f.hint(s.file, k.line, didYouMean(k.name, keysOf(s.seen)), "unknown key %q", k.name)
		}
	}
}
