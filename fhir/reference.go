package fhir

import "strings"

// Reference is a literal reference to a resource of this server: "Type/id", any version stripped.
type Reference struct {
	Type string
	ID   string
}

// String is the relative form, "Type/id".
func (r Reference) String() string { return r.Type + "/" + r.ID }

// ParseReference reads a relative reference, or an absolute one below base; ok is false for
// contained (#x), logical, urn: and foreign references.
func ParseReference(s, base string) (ref Reference, ok bool) {
	if base != "" {
		s = strings.TrimPrefix(s, strings.TrimSuffix(base, "/")+"/")
	}
	typ, rest, found := strings.Cut(s, "/")
	if !found || !KnownType(typ) {
		return Reference{}, false
	}
	id, version, versioned := strings.Cut(rest, "/_history/")
	if !ValidID(id) || (versioned && !ValidID(version)) {
		return Reference{}, false
	}
	return Reference{Type: typ, ID: id}, true
}

// References lists the distinct literal references inside n, in document order.
func References(n Node, base string) []Reference {
	var out []Reference
	seen := map[Reference]bool{}
	n.Walk(func(obj Node) {
		v := obj.Get("reference")
		if v.Kind != '"' {
			return
		}
		if ref, ok := ParseReference(v.Text(), base); ok && !seen[ref] {
			seen[ref] = true
			out = append(out, ref)
		}
	})
	return out
}
