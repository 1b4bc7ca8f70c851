package login

import (
	"errors"
	"slices"
	"strings"

	"trellis/auth/smart"
)

// An app asks for scopes; a person is offered things to give, chooses some of them, and what was chosen is again scopes:
// offered(asked) -> offer, grant(asked, chosen) -> granted. Granted lies within asked whatever was chosen. Nothing here
// knows of pages.

// half is one of the two things that can be done to records; each is chosen by itself.
type half string

const (
	reading half = "read"
	writing half = "write"
)

func (h half) verbs() smart.Verb {
	if h == reading {
		return smart.Read | smart.Search
	}
	return smart.Create | smart.Update | smart.Delete
}

// offer is what was asked for as things to choose.
type offer struct {
	sections []section
	identity bool // openid, fhirUser, profile
	offline  bool
	online   bool
}

// section is reading or writing, of the launch's patient or of all the person can reach.
type section struct {
	level string // smart.Patient or smart.User
	half  half
	all   bool // all kinds of records were asked for, also those added later
	types []typeOffer
}

// typeOffer is a resource type: as a whole, where that was asked for, or parts of it.
type typeOffer struct {
	key   string
	typ   string
	whole bool
	tells bool
	parts []partOffer
}

// partOffer is a granular scope's constraint: as it was written, and decoded, in which form two are compared.
type partOffer struct{ key, label, query, decoded string }

func (s section) key() string { return s.level + "." + string(s.half) }

// allKey is the key of all kinds in a section.
func (s section) allKey() string { return s.key() + ".*" }

// The keys of what is chosen besides records.
const (
	keyIdentity = "identity"
	keyOffline  = "offline_access"
	keyOnline   = "online_access"
)

// chosen is the keys of what a person ticked.
type chosen map[string]bool

// offered turns what was asked for into what can be chosen. Who may not write is not offered it.
func offered(asked smart.Set, writes bool) offer {
	o := offer{
		identity: asked.Context("openid") || asked.Context("fhirUser") || asked.Context("profile"),
		offline:  asked.Context(keyOffline), online: asked.Context(keyOnline),
	}
	for _, level := range []string{smart.Patient, smart.User} {
		for _, h := range []half{reading, writing} {
			if h == writing && !writes {
				continue
			}
			if s := askedSection(asked, level, h); s.all || len(s.types) > 0 {
				o.sections = append(o.sections, s)
			}
		}
	}
	return o
}

func askedSection(asked smart.Set, level string, h half) section {
	s := section{level: level, half: h}
	for _, scope := range asked.Resources() {
		if scope.Level != level || scope.Verbs&h.verbs() == 0 {
			continue
		}
		query, decoded := constraint(scope)
		if scope.Type == "*" && query == "" {
			s.all = true
			continue
		}
		t := s.offering(scope.Type)
		if query == "" {
			t.whole = true
		} else {
			t.offerPart(query, decoded)
		}
	}
	if s.all {
		for _, k := range kinds() {
			s.offering(k.typ).whole = true
		}
	}
	for i := range s.types {
		if t := &s.types[i]; t.whole && h == reading {
			k, _ := known(t.typ)
			for _, p := range k.parts {
				t.offerPart(p.query, p.query)
			}
		}
	}
	order := map[string]int{}
	for i, k := range kinds() {
		order[k.typ] = i - len(kinds())
	}
	slices.SortStableFunc(s.types, func(a, b typeOffer) int { return order[a.typ] - order[b.typ] })
	return s
}

// offering is the section's row of a type, made when there is none.
func (s *section) offering(typ string) *typeOffer {
	for i := range s.types {
		if s.types[i].typ == typ {
			return &s.types[i]
		}
	}
	k, _ := known(typ)
	s.types = append(s.types, typeOffer{key: s.key() + "." + typ, typ: typ, tells: k.tells})
	if typ == "*" {
		s.types[len(s.types)-1].key = s.key() + ".any"
	}
	return &s.types[len(s.types)-1]
}

func (t *typeOffer) offerPart(query, decoded string) {
	if slices.ContainsFunc(t.parts, func(p partOffer) bool { return p.decoded == decoded }) {
		return
	}
	p := partOffer{key: t.key + "?" + decoded, query: query, decoded: decoded}
	k, _ := known(t.typ)
	for _, named := range k.parts {
		if named.query == decoded {
			p.label = named.key
		}
	}
	t.parts = append(t.parts, p)
}

// constraint is the query of a granular scope, as it was written and decoded.
func constraint(s smart.Scope) (query, decoded string) {
	_, query, _ = strings.Cut(s.String(), "?")
	var list []string
	for _, c := range s.Constraints {
		list = append(list, c.Param+"="+c.Value)
	}
	return query, strings.Join(list, "&")
}

// everything is the choice of all that is offered, as a form shows it first.
func (o offer) everything() chosen {
	c := chosen{keyIdentity: o.identity, keyOffline: o.offline, keyOnline: o.online}
	for _, s := range o.sections {
		c[s.allKey()] = s.all
		for _, t := range s.types {
			c[t.key] = t.whole && !s.all
			for _, p := range t.parts {
				c[p.key] = !t.whole && !s.all
			}
		}
	}
	return c
}

// errWider cannot happen; should it, nothing is granted.
var errWider = errors.New("login: what was chosen is more than what was asked for")

// grant is the scopes of what was chosen, in the words and the order in which they were asked for. Empty: nothing was.
func grant(asked smart.Set, o offer, c chosen) (smart.Set, error) {
	var words []string
	something := false
	for _, word := range strings.Fields(asked.String()) {
		if asked.Context(word) {
			if c.context(word) {
				words = append(words, word)
				something = something || isIdentity(word)
			}
			continue
		}
		one, err := smart.Parse(word)
		if err != nil {
			return smart.Set{}, err
		}
		kept := o.keep(one.Resources()[0], c)
		words = append(words, kept...)
		something = something || len(kept) > 0
	}
	if !something {
		return smart.Set{}, nil
	}
	granted, err := smart.Parse(strings.Join(words, " "))
	if err != nil {
		return smart.Set{}, err
	}
	if !asked.ContainsAll(granted) {
		return smart.Set{}, errWider
	}
	return granted, nil
}

func isIdentity(word string) bool { return word == "openid" || word == "fhirUser" || word == "profile" }

// context reports whether a context scope is given. Those of launch go with whatever is.
func (c chosen) context(word string) bool {
	switch {
	case isIdentity(word):
		return c[keyIdentity]
	case word == keyOffline || word == keyOnline:
		return c[word]
	}
	return true
}

// keep is what remains of one scope.
func (o offer) keep(scope smart.Scope, c chosen) []string {
	var out []string
	var whole smart.Verb
	for _, s := range o.sections {
		verbs := scope.Verbs & s.half.verbs()
		if s.level != scope.Level || verbs == 0 {
			continue
		}
		if s.gives(scope, c) {
			whole |= verbs
			continue
		}
		if len(scope.Constraints) > 0 {
			continue // given as asked, or not at all
		}
		for _, t := range s.types {
			if scope.Type != "*" && scope.Type != t.typ {
				continue
			}
			if scope.Type == "*" && t.whole && c[t.key] {
				out = append(out, spell(scope, t.typ, verbs, ""))
				continue
			}
			for _, p := range t.parts {
				if c[p.key] && t.typ != "*" {
					out = append(out, spell(scope, t.typ, verbs, p.query))
				}
			}
		}
	}
	switch whole {
	case 0:
		return out
	case scope.Verbs:
		return []string{scope.String()}
	}
	query, _ := constraint(scope)
	return append([]string{spell(scope, scope.Type, whole, query)}, out...)
}

// gives reports whether a section gives all of a scope.
func (s section) gives(scope smart.Scope, c chosen) bool {
	if s.all && c[s.allKey()] {
		return true
	}
	_, decoded := constraint(scope)
	for _, t := range s.types {
		if t.typ != scope.Type {
			continue
		}
		if t.whole && c[t.key] {
			return true
		}
		for _, p := range t.parts {
			if decoded != "" && p.decoded == decoded && c[p.key] {
				return true
			}
		}
	}
	return false
}

// spell writes a scope that has less in it than the one asked for, in the version that one was written in. Constraints
// are of version 2.
func spell(from smart.Scope, typ string, verbs smart.Verb, query string) string {
	head, _, _ := strings.Cut(from.String(), "?")
	action := head[strings.LastIndexByte(head, '.')+1:]
	v1 := action == "read" || action == "write" || action == "*"
	out := from.Level + "/" + typ + "."
	switch {
	case v1 && query == "" && verbs == reading.verbs():
		return out + "read"
	case v1 && query == "" && verbs == writing.verbs():
		return out + "write"
	}
	for i, letter := range "cruds" {
		if verbs&(1<<i) != 0 {
			out += string(letter)
		}
	}
	if query != "" {
		out += "?" + query
	}
	return out
}

// tells reports whether anything that is chosen can give something away.
func (o offer) tells() bool {
	for _, s := range o.sections {
		if s.all || slices.ContainsFunc(s.types, func(t typeOffer) bool { return t.tells }) {
			return true
		}
	}
	return false
}
