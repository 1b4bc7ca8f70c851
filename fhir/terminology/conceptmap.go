package terminology

import (
	"trellis/fhir"
)

// ConceptMap is a map between code systems.
type ConceptMap struct {
	ID, URL, Version string
	Source, Target   string // value sets

	groups []group
}

type group struct {
	source, target string
	elements       []element
	unmapped       unmapped
}

type element struct {
	code    string
	targets []mapped
}

type mapped struct {
	code, display, equivalence string
	depends                    bool
}

type unmapped struct{ mode, code, display, url string }

// Match is one translation of a code.
type Match struct {
	Equivalence           string
	System, Code, Display string
	Map                   string // URL of the map that says so
}

// ReadConceptMap reads a ConceptMap resource.
func ReadConceptMap(r *fhir.Resource) *ConceptMap {
	root := r.Root
	m := &ConceptMap{ID: r.ID, URL: root.Get("url").Text(), Version: root.Get("version").Text()}
	m.Source = root.Get("sourceUri").Text() + root.Get("sourceCanonical").Text() // one of them
	m.Target = root.Get("targetUri").Text() + root.Get("targetCanonical").Text()
	for _, n := range root.Get("group").List() {
		g := group{source: n.Get("source").Text(), target: n.Get("target").Text()}
		u := n.Get("unmapped")
		g.unmapped = unmapped{u.Get("mode").Text(), u.Get("code").Text(), u.Get("display").Text(), u.Get("url").Text()}
		for _, e := range n.Get("element").List() {
			out := element{code: e.Get("code").Text()}
			for _, t := range e.Get("target").List() {
				out.targets = append(out.targets, mapped{t.Get("code").Text(), t.Get("display").Text(), t.Get("equivalence").Text(), len(t.Get("dependsOn").Items) > 0})
			}
			g.elements = append(g.elements, out)
		}
		m.groups = append(m.groups, g)
	}
	return m
}

// Question is what $translate asks. Empty fields narrow nothing.
type Question struct {
	System, Code         string
	SourceSet, TargetSet string
	TargetSystem         string
	Reverse              bool // from target to source
}

// Maps finds the maps that can answer: the one of a URL, or those between the value sets asked for.
func (l *Library) Maps(url, version string, q Question) ([]*ConceptMap, error) {
	var out []*ConceptMap
	url, version = canonical(url, version)
	for _, m := range l.maps {
		if (url == "" || m.URL == url && (version == "" || m.Version == version)) && (q.SourceSet == "" || m.Source == q.SourceSet) && (q.TargetSet == "" || m.Target == q.TargetSet) {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		return nil, unknown("concept map")
	}
	return out, nil
}

// Translate gives every translation the maps have. left reports that there are some which depend on more than the code
// and were left out.
func (l *Library) Translate(maps []*ConceptMap, q Question) (out []Match, left bool, err error) {
	asked := 0
	for _, m := range maps {
		found, more, err := l.translate(m, q, 0, &asked)
		if err != nil {
			return nil, false, err
		}
		out, left = append(out, found...), left || more
	}
	return out, left, nil
}

func (l *Library) translate(m *ConceptMap, q Question, depth int, asked *int) (out []Match, left bool, err error) {
	if *asked++; depth > maxImports || *asked > maxMaps {
		return nil, false, unsupported("concept maps refer to each other too deeply, or in a circle")
	}
	for _, g := range m.groups {
		if q.Reverse {
			out = append(out, g.backward(m, q)...)
			continue
		}
		if g.source != "" && q.System != "" && g.source != q.System || q.TargetSystem != "" && g.target != q.TargetSystem {
			continue
		}
		found, known, depends := g.forward(m, q)
		left = left || depends
		if known {
			out = append(out, found...)
			continue
		}
		switch g.unmapped.mode {
		case "provided":
			out = append(out, Match{"equal", g.target, q.Code, "", m.URL})
		case "fixed":
			out = append(out, Match{"inexact", g.target, g.unmapped.code, g.unmapped.display, m.URL})
		case "other-map":
			others, err := l.Maps(g.unmapped.url, "", Question{})
			if err != nil {
				return nil, false, err
			}
			for _, o := range others {
				more, depends, err := l.translate(o, q, depth+1, asked)
				if err != nil {
					return nil, false, err
				}
				out, left = append(out, more...), left || depends
			}
		}
	}
	return out, left, nil
}

// forward is what a group makes of a code; known says that it speaks of it at all.
func (g group) forward(m *ConceptMap, q Question) (out []Match, known, depends bool) {
	for _, e := range g.elements {
		if e.code != q.Code {
			continue
		}
		known = true
		for _, t := range e.targets {
			if t.depends {
				depends = true
				continue
			}
			out = append(out, Match{t.equivalence, g.target, t.code, t.display, m.URL})
		}
	}
	return out, known, depends
}

// backward is what a group has as sources of a code.
func (g group) backward(m *ConceptMap, q Question) []Match {
	var out []Match
	if g.target != "" && q.System != "" && g.target != q.System || q.TargetSystem != "" && g.source != q.TargetSystem {
		return nil
	}
	for _, e := range g.elements {
		for _, t := range e.targets {
			if t.code == q.Code && !t.depends {
				out = append(out, Match{reversed(t.equivalence), g.source, e.code, "", m.URL})
			}
		}
	}
	return out
}

// reversed is an equivalence read the other way.
func reversed(equivalence string) string {
	switch equivalence {
	case "wider":
		return "narrower"
	case "narrower":
		return "wider"
	case "subsumes":
		return "specializes"
	case "specializes":
		return "subsumes"
	}
	return equivalence
}

// Matched reports whether an equivalence is a translation at all.
func (m Match) Matched() bool {
	return m.Equivalence != "unmatched" && m.Equivalence != "disjoint" && m.Code != ""
}
