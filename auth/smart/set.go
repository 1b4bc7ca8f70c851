package smart

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrScope marks every refusal of Parse. The text around it holds positions and reasons, never the scope itself.
var ErrScope = errors.New("malformed scope")

// Bounds on outside input; a real request stays far below them.
const (
	maxText        = 16 << 10
	maxScopes      = 512
	maxConstraints = 16
)

// Set is a union of scopes. The zero Set allows nothing.
type Set struct {
	resources []Scope
	contexts  []string
	text      string
}

// Parse reads scopes separated by spaces. It accepts resource scopes of v1 and v2 and the context scopes of SMART
// (openid, fhirUser, profile, launch, launch/..., offline_access, online_access), and this gateway's own two for clients
// that ask about tokens (introspect) and that launch apps (create_launch). Exact repetitions are dropped.
// Any scope it cannot read fails the whole, with an error that wraps ErrScope. The empty string is the empty set.
func Parse(text string) (Set, error) {
	if len(text) > maxText {
		return Set{}, fmt.Errorf("%w: too long", ErrScope)
	}
	var set Set
	var kept []string
	seen := map[string]bool{}
	for word := range strings.SplitSeq(text, " ") {
		if word == "" || seen[word] {
			continue
		}
		seen[word] = true
		kept = append(kept, word)
		if len(kept) > maxScopes {
			return Set{}, fmt.Errorf("%w: too many", ErrScope)
		}
		if !scopeToken(word) {
			return Set{}, fmt.Errorf("%w: scope %d has a forbidden character", ErrScope, len(kept))
		}
		if isContext(word) {
			set.contexts = append(set.contexts, word)
			continue
		}
		scope, why := parseScope(word)
		if why != "" {
			return Set{}, fmt.Errorf("%w: scope %d %s", ErrScope, len(kept), why)
		}
		set.resources = append(set.resources, scope)
	}
	set.text = strings.Join(kept, " ")
	return set, nil
}

// scopeToken is RFC 6749 appendix A.4: printable ASCII without space, quote and backslash.
func scopeToken(word string) bool {
	for i := range len(word) {
		if c := word[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func isContext(word string) bool {
	switch word {
	case "openid", "fhirUser", "profile", "launch", "offline_access", "online_access", "introspect", "create_launch":
		return true
	}
	name, ok := strings.CutPrefix(word, "launch/")
	if !ok {
		return false
	}
	name, _, _ = strings.Cut(name, "?role=")
	for _, r := range name {
		if r < 'a' || r > 'z' {
			return false
		}
	}
	return name != ""
}

// String returns the scopes in the order and the words in which they were asked for.
func (s Set) String() string { return s.text }

// Empty reports whether the set holds no scope of either kind.
func (s Set) Empty() bool { return len(s.resources) == 0 && len(s.contexts) == 0 }

// Resources returns the resource scopes in order; the caller owns the slice.
func (s Set) Resources() []Scope { return slices.Clone(s.resources) }

// Contexts returns the context scopes (openid, launch/patient, ...) in order; the caller owns the slice.
func (s Set) Contexts() []string { return slices.Clone(s.contexts) }

// Context reports whether the context scope name is in the set.
func (s Set) Context(name string) bool { return slices.Contains(s.contexts, name) }

// Allows reports whether the set permits every verb of need on the whole resource type. Granular scopes do not count,
// so a caller that knows nothing of constraints errs on the closed side. resourceType "*" asks for all types.
func (s Set) Allows(level, resourceType string, need Verb) bool {
	var have Verb
	for _, sc := range s.resources {
		if sc.Level == level && len(sc.Constraints) == 0 && resourceType != "" &&
			(sc.Type == "*" || sc.Type == resourceType) {
			have |= sc.Verbs
		}
	}
	return have.Has(need)
}

// Granular returns the constrained scopes that permit need on the type. When Allows says no, a resource is permitted
// if it satisfies all constraints of at least one of them; an empty answer permits nothing. Ask for one verb at a time.
func (s Set) Granular(level, resourceType string, need Verb) []Scope {
	var list []Scope
	for _, sc := range s.resources {
		if sc.Level == level && len(sc.Constraints) > 0 && resourceType != "" &&
			(sc.Type == "*" || sc.Type == resourceType) && sc.Verbs.Has(need) {
			list = append(list, sc)
		}
	}
	return list
}

// Contains reports whether the union of s allows everything b allows. Several scopes may share the verbs of b, but
// each of them has to cover b's type and constraints by itself.
func (s Set) Contains(b Scope) bool {
	var have Verb
	for _, sc := range s.resources {
		if sc.covers(b) {
			have |= sc.Verbs
		}
	}
	return have.Has(b.Verbs)
}

// ContainsAll reports whether every scope of b, context scopes included, lies within s: the test at each step where
// authority is handed on.
func (s Set) ContainsAll(b Set) bool {
	for _, c := range b.contexts {
		if !s.Context(c) {
			return false
		}
	}
	for _, sc := range b.resources {
		if !s.Contains(sc) {
			return false
		}
	}
	return true
}
