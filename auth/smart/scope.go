package smart

import (
	"net/url"
	"slices"
	"strings"
)

// Levels of access: whose record the bearer acts upon.
const (
	Patient = "patient" // the one patient in the launch context
	User    = "user"    // whatever the logged-in user may reach
	System  = "system"  // whatever the client's organisation may reach
)

// Verb is a set of the five things SMART v2 tells apart.
type Verb uint8

// The verbs in the order of the grammar. Read covers read, vread and instance history; Update covers patch; Search
// covers search and history of a type or of the whole system.
const (
	Create Verb = 1 << iota
	Read
	Update
	Delete
	Search
)

const allVerbs = Create | Read | Update | Delete | Search

// Has reports whether v holds every verb of need. A need of no verb at all is never met.
func (v Verb) Has(need Verb) bool { return need != 0 && v&need == need }

// Constraint is one `name=value` of a granular scope, percent-decoded. Several in one scope all have to hold.
type Constraint struct{ Param, Value string }

// Scope is one resource scope, for instance `system/Observation.rs?category=laboratory`.
type Scope struct {
	Level       string // Patient, User or System
	Type        string // resource type or "*"
	Verbs       Verb
	Constraints []Constraint // empty: the whole type
	text        string       // as asked for, returned verbatim
}

// String returns the scope as it was written: who asks in v1 is answered in v1.
func (s Scope) String() string { return s.text }

// Contains reports whether everything b allows is allowed by s alone. A scope without constraints contains the same
// scope with constraints; one with constraints contains only those that repeat every one of them.
func (s Scope) Contains(b Scope) bool { return s.covers(b) && s.Verbs.Has(b.Verbs) }

// covers compares all but the verbs. It is reflexive and transitive, which makes containment so.
func (s Scope) covers(b Scope) bool {
	if s.Level != b.Level || s.Level == "" || b.Type == "" || (s.Type != "*" && s.Type != b.Type) {
		return false
	}
	for _, c := range s.Constraints {
		if !slices.Contains(b.Constraints, c) {
			return false
		}
	}
	return true
}

// parseScope reads one resource scope. The second result says why not, in words that repeat nothing of the input.
func parseScope(text string) (Scope, string) {
	level, rest, ok := strings.Cut(text, "/")
	if !ok || (level != Patient && level != User && level != System) {
		return Scope{}, "is neither a resource scope nor a known context scope"
	}
	rest, query, granular := strings.Cut(rest, "?")
	typ, action, ok := strings.Cut(rest, ".")
	if !ok || !validType(typ) {
		return Scope{}, "names no resource type"
	}
	verbs, v1 := parseVerbs(action)
	if verbs == 0 {
		return Scope{}, "names no known action"
	}
	s := Scope{Level: level, Type: typ, Verbs: verbs, text: text}
	if granular {
		// Constraints belong to v2; `.read?...` has no defined meaning.
		if s.Constraints, ok = parseConstraints(query); !ok || v1 {
			return Scope{}, "has a malformed constraint"
		}
	}
	return s, ""
}

func validType(t string) bool {
	if t == "*" {
		return true
	}
	if len(t) == 0 || len(t) > 64 || t[0] < 'A' || t[0] > 'Z' {
		return false
	}
	for _, r := range t {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}

// parseVerbs maps an action to verbs; zero when it is not one. Letters out of order are refused, as the specification
// permits, so that `.read` can never be taken for r and d.
func parseVerbs(action string) (v Verb, v1 bool) {
	switch action {
	case "read":
		return Read | Search, true
	case "write":
		return Create | Update | Delete, true
	case "*":
		return allVerbs, true
	}
	const letters = "cruds"
	at := 0
	for i := range len(action) {
		j := strings.IndexByte(letters[at:], action[i])
		if j < 0 {
			return 0, false
		}
		v |= 1 << (at + j)
		at += j + 1
	}
	return v, false
}

func parseConstraints(query string) ([]Constraint, bool) {
	var list []Constraint
	for part := range strings.SplitSeq(query, "&") {
		name, raw, ok := strings.Cut(part, "=")
		if !ok || !validParam(name) || raw == "" {
			return nil, false
		}
		value, err := url.PathUnescape(raw) // PathUnescape leaves '+' alone: a scope is no HTML form
		if err != nil {
			return nil, false
		}
		list = append(list, Constraint{Param: name, Value: value})
	}
	return list, len(list) <= maxConstraints
}

// validParam admits plain search parameter names. Modifiers and chains in scopes are experimental; a scope we would
// not enforce is one we do not accept.
func validParam(name string) bool {
	for _, r := range name {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
			return false
		}
	}
	return name != "" && len(name) <= 64
}
