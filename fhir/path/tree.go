package path

import "trellis/fhir"

// node is a JSON value that can be changed; scalars keep their own bytes.
type node struct {
	kind    byte
	raw     []byte
	members []member
	items   []*node
}

type member struct {
	name  string
	value *node
}

func grow(n fhir.Node) *node {
	out := &node{kind: n.Kind}
	switch n.Kind {
	case '{':
		for _, m := range n.Members {
			out.members = append(out.members, member{m.Name, grow(m.Value)})
		}
	case '[':
		for _, item := range n.Items {
			out.items = append(out.items, grow(item))
		}
	default:
		out.raw = n.Raw()
	}
	return out
}

func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (n *node) set(name string, value *node) {
	for i := range n.members {
		if n.members[i].name == name {
			n.members[i].value = value
			return
		}
	}
	n.members = append(n.members, member{name, value})
}

// drop takes a member away, with what extends it as a primitive.
func (n *node) drop(name string) {
	kept := n.members[:0]
	for _, m := range n.members {
		if m.name != name && m.name != "_"+name {
			kept = append(kept, m)
		}
	}
	n.members = kept
}

// text is a scalar as an expression writes it: a string without its quotes.
func (n *node) text() string {
	if n.kind != '"' {
		return string(n.raw)
	}
	parsed, err := fhir.ParseJSON(n.raw)
	if err != nil {
		return ""
	}
	return parsed.Text()
}

func (n *node) write(out []byte) []byte {
	switch n.kind {
	case '{':
		out = append(out, '{')
		for i, m := range n.members {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(append(out, fhir.Quote(m.name)...), ':')
			out = m.value.write(out)
		}
		return append(out, '}')
	case '[':
		out = append(out, '[')
		for i, item := range n.items {
			if i > 0 {
				out = append(out, ',')
			}
			out = item.write(out)
		}
		return append(out, ']')
	}
	return append(out, n.raw...)
}
