package mapping

import (
	_ "embed" // for profileFacts
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
)

//go:embed language/profiles.csv
var profileFacts string

// A fact is something a profile asks for beyond R4; the file says from which versions it was read.
type fact struct {
	profile, resource, element string
	kind                       string // "profile", "required", "code" or "fixed"
	codes                      []string
	versions                   string
}

func readFacts() []fact {
	r := csv.NewReader(strings.NewReader(profileFacts))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return nil // the file is part of the program; a test reads it
	}
	var out []fact
	for _, row := range rows[1:] {
		out = append(out, fact{
			profile: row[0], resource: row[1], element: row[2], kind: row[3],
			codes: strings.Fields(row[4]), versions: strings.ReplaceAll(row[5], " ", ", "),
		})
	}
	return out
}

// claims stands for the profiles that a resource claims, among the places of a mapping.
type claims struct{ of *objectNode }

// profiles checks what the profiles that a resource claims ask for. A claim with a condition, and a rule with one, are
// taken to belong together: what may be made counts as made.
func (s *shaper) profiles(em *emission, at place) {
	for _, p := range em.profiles {
		var url string
		if json.Unmarshal(p.url, &url) != nil {
			continue
		}
		s.profile(url, em, at)
	}
}

func (s *shaper) profile(url string, em *emission, at place) {
	name := url[strings.LastIndexByte(url, '/')+1:]
	if profileURL(name) != url {
		return // not of a family that we have facts about
	}
	var known []string
	found := false
	for _, f := range s.c.p.facts {
		if f.kind == "profile" && f.resource == em.resource {
			known = append(known, f.profile)
		}
		if f.profile != name {
			continue
		}
		found = true
		if f.resource != em.resource {
			s.c.f.hint(at.file, at.line, "", "profile %s is for %s, and the resource is %s", name, f.resource, article(em.resource))
			return
		}
		s.fact(f, em, at)
	}
	if !found {
		s.c.f.hint(at.file, at.line, didYouMean(name, known), "no profile %s is known", name)
	}
}

func (s *shaper) fact(f fact, em *emission, at place) {
	names := strings.Split(f.element, ".")
	switch f.kind {
	case "required":
		for _, o := range objectsAt(em.set, names[:len(names)-1]) {
			if !o.has(names[len(names)-1]) {
				where := at
				if o != em.set {
					where = s.c.places[o]
				}
				s.c.f.hint(where.file, where.line, "", "profile %s (%s) asks for %s.%s, and no rule makes it", f.profile, f.versions, em.resource, f.element)
			}
		}
	case "code":
		for _, n := range nodesAt(em.set, names) {
			if s.mayCode(n, f.codes) {
				return
			}
		}
		s.c.f.hint(at.file, at.line, "add the coding "+strings.ReplaceAll(strings.Join(f.codes, " or "), "|", "#"),
			"profile %s (%s) asks for %s in %s.%s, and no rule makes it", f.profile, f.versions, codeList(f.codes), em.resource, f.element)
	case "fixed":
		for _, n := range nodesAt(em.set, names) {
			for _, b := range branches(n) {
				c, ok := b.(*constNode)
				if !ok {
					return
				}
				if text, ok := c.literal(); ok && slices.Contains(f.codes, text) {
					return
				}
			}
		}
		s.c.f.hint(at.file, at.line, "", "profile %s (%s) asks for %s in %s.%s, and no rule makes it", f.profile, f.versions, strings.Join(f.codes, " or "), em.resource, f.element)
	}
}

// codeList shows codings by their codes alone: systems are long, and the hint names one in full.
func codeList(codes []string) string {
	var out []string
	for _, c := range codes {
		_, code, _ := strings.Cut(c, "|")
		out = append(out, code)
	}
	return strings.Join(out, " or ")
}

// has tells whether an object has an element, or one type of a choice.
func (o *objectNode) has(name string) bool {
	base, choice := strings.CutSuffix(name, "[x]")
	for _, f := range o.fields {
		if f.name == name || f.name == "_"+name || choice && strings.HasPrefix(f.name, base) {
			return true
		}
	}
	return false
}

// nodesAt lists the nodes that may stand at a path below an object.
func nodesAt(o *objectNode, names []string) []node {
	var out []node
	for _, parent := range objectsAt(o, names[:len(names)-1]) {
		base, choice := strings.CutSuffix(names[len(names)-1], "[x]")
		for _, f := range parent.fields {
			if f.name == base || choice && strings.HasPrefix(f.name, base) {
				out = append(out, branches(f.node)...)
			}
		}
	}
	return out
}

// objectsAt lists the objects that may stand at a path below an object.
func objectsAt(o *objectNode, names []string) []*objectNode {
	objects := []*objectNode{o}
	for _, name := range names {
		var next []*objectNode
		for _, o := range objects {
			for _, f := range o.fields {
				if f.name != name {
					continue
				}
				for _, b := range branches(f.node) {
					if kid, ok := b.(*objectNode); ok {
						next = append(next, kid)
					}
				}
			}
		}
		objects = next
	}
	return objects
}

// mayCode tells whether a node may make a CodeableConcept, Coding or code with one of the codings (system|code).
func (s *shaper) mayCode(n node, codings []string) bool {
	switch v := bare(n).(type) {
	case *codeNode:
		for _, row := range v.via.list {
			if row.direction != "out" && slices.Contains(codings, row.system+"|"+row.code) {
				return true
			}
		}
		return false
	case *objectNode:
		if v.has("coding") {
			for _, c := range nodesAt(v, []string{"coding"}) {
				if s.mayCode(c, codings) {
					return true
				}
			}
			return false
		}
		systems, codes := nodesAt(v, []string{"system"}), nodesAt(v, []string{"code"})
		for _, c := range codings {
			system, code, _ := strings.Cut(c, "|")
			if mayBe(systems, system) && mayBe(codes, code) {
				return true
			}
		}
		return false
	case *constNode:
		return false
	}
	return true // computed: it may be anything
}

// mayBe tells whether one of the nodes may make a text.
func mayBe(nodes []node, want string) bool {
	for _, n := range nodes {
		c, ok := n.(*constNode)
		if !ok {
			return true
		}
		if text, ok := c.literal(); ok && text == want {
			return true
		}
	}
	return false
}
