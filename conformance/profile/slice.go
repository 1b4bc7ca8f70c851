package profile

import (
	"slices"
	"strings"

	"trellis/fhir/terminology"
)

// verdict is yes, no, or that it cannot be told.
type verdict int

const (
	no verdict = iota
	yes
	untold
)

func told(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// also is yes when both are, and no when one is.
func (a verdict) also(b verdict) verdict {
	switch {
	case a == no || b == no:
		return no
	case a == untold || b == untold:
		return untold
	}
	return yes
}

// or is yes when one is, and no when both are.
func (a verdict) or(b verdict) verdict {
	switch {
	case a == yes || b == yes:
		return yes
	case a == untold || b == untold:
		return untold
	}
	return no
}

// sliced sorts items into the slices of their element (https://hl7.org/fhir/R4/profiling.html#slicing) and checks each slice.
func (r *run) sliced(items []item, v item, e *element, p *Profile) {
	rules := slicing{rules: "open"}
	if e.slicing != nil {
		rules = *e.slicing
	}
	rules.discriminators = discriminators(e, rules.discriminators)
	in := make([][]item, len(e.slices))
	doubt := make([]bool, len(e.slices))
	outside, last := false, 0
	for _, i := range items {
		at, unsure := r.sliceOf(i, e, rules.discriminators, p, doubt)
		if r.over() {
			return // nothing is known of the slices
		}
		switch {
		case at < 0 && unsure:
			r.about(severityInformation, "not-supported", i, e, p, "it could not be told which slice of %s this is", e.name)
		case at < 0 && rules.rules == "closed":
			r.about(severityError, "structure", i, e, p, "%s is none of the slices the profile allows: %s", e.name, strings.Join(e.sliceNames(), ", "))
		case at < 0:
			outside = true
		default:
			if outside && rules.rules == "openAtEnd" {
				r.about(severityError, "structure", i, e.slices[at], p, "%s is of the slice %s, which must come before what is of no slice", e.name, e.slices[at].sliceName)
			}
			if rules.ordered && at < last {
				r.about(severityError, "structure", i, e.slices[at], p, "%s is of the slice %s, which must come before the slice %s", e.name, e.slices[at].sliceName, e.slices[last].sliceName)
			}
			last = at
			in[at] = append(in[at], i)
		}
	}
	for at, s := range e.slices {
		name := e.name + ":" + s.sliceName
		switch n := len(in[at]); {
		case doubt[at] && n < s.min:
			of := v
			of.at += "." + e.name
			r.about(severityInformation, "not-supported", of, s, p, "it could not be told whether the slice %s is there, which the profile asks for", name)
		default:
			r.count(v, n, s, p, name)
		}
		r.all(in[at], v, s, p)
	}
}

func (e *element) sliceNames() []string {
	out := make([]string, 0, len(e.slices))
	for _, s := range e.slices {
		out = append(out, s.sliceName)
	}
	return out
}

// discriminators are those written, or those R4 takes for granted: extensions are told by url, choices by type.
func discriminators(e *element, written []discriminator) []discriminator {
	switch {
	case len(written) > 0:
		return written
	case e.name == "extension" || e.name == "modifierExtension":
		return []discriminator{{"value", "url"}}
	case e.choice:
		return []discriminator{{"type", "$this"}}
	}
	return nil
}

// sliceOf finds the slice an item is of, -1 for none. It notes the slices of which it could not be told.
func (r *run) sliceOf(v item, e *element, list []discriminator, p *Profile, doubt []bool) (at int, unsure bool) {
	at = -1
	for i, s := range e.slices {
		if !r.more(v) {
			return -1, true
		}
		is := told(len(list) > 0)
		if len(list) == 0 {
			is = untold
		}
		for _, d := range list {
			if is != no {
				is = is.also(r.discriminates(v, s, d, p))
			}
		}
		switch is {
		case yes:
			return i, false
		case untold:
			doubt[i], unsure = true, true
		}
	}
	return -1, unsure
}

// discriminates says whether an item is of a slice by one discriminator.
func (r *run) discriminates(v item, s *element, d discriminator, p *Profile) verdict {
	steps, ok := pathSteps(d.path)
	if !ok {
		return untold
	}
	if d.kind == "value" && d.path == "url" && v.typ == "Extension" {
		if url := extensionURL(s); url != "" {
			return told(v.node.Get("url").Text() == url)
		}
	}
	target := r.descend(s, p, steps)
	if target == nil {
		return untold
	}
	found, all := r.follow([]item{v}, steps)
	switch d.kind {
	case "value", "pattern":
		out := no
		for _, f := range found {
			out = out.or(r.satisfies(f, target, 0))
		}
		if out == no && (!all || r.satisfies(item{}, target, 0) == untold) {
			return untold
		}
		return out
	case "exists":
		switch {
		case target.max == 0:
			return told(len(found) == 0 && all)
		case target.min > 0:
			return told(len(found) > 0)
		}
	case "type":
		if len(target.types) == 0 {
			return untold
		}
		out := no
		for _, f := range found {
			is := no
			for _, t := range target.types {
				is = is.or(told(t.code == f.typ || t.code == "Resource"))
				if len(t.profiles) > 0 && is == no {
					for _, canonical := range t.profiles {
						is = is.or(told(r.c.Library.typeOf(canonical) == f.typ))
					}
				}
			}
			out = out.or(is)
		}
		if out == no && !all {
			return untold
		}
		return out
	case "profile":
		out := no
		for _, f := range found {
			for _, t := range target.types {
				for _, canonical := range slices.Concat(t.profiles, t.targets) {
					fits, known := r.conformsSilently(f, canonical, p)
					if !known {
						return untold
					}
					out = out.or(told(fits))
				}
			}
		}
		if out == no && !all {
			return untold
		}
		return out
	}
	return untold
}

// extensionURL is the url that an extension's slice asks for.
func extensionURL(s *element) string {
	if url := s.child("url"); url != nil && !url.fixed.IsZero() {
		return url.fixed.Text()
	}
	for _, t := range s.types {
		if len(t.profiles) == 1 {
			url, _, _ := strings.Cut(t.profiles[0], "|")
			return url
		}
	}
	return ""
}

// step is one part of a discriminator's path (https://hl7.org/fhir/R4/profiling.html#discriminator).
type step struct{ kind, name string } // member, extension, ofType, resolve

func pathSteps(path string) ([]step, bool) {
	var out []step
	for rest := path; rest != ""; {
		var part string
		if i := strings.IndexAny(rest, ".("); i >= 0 && rest[i] == '(' {
			end := strings.IndexByte(rest, ')')
			if end < i {
				return nil, false
			}
			part, rest = rest[:end+1], strings.TrimPrefix(rest[end+1:], ".")
		} else {
			part, rest, _ = strings.Cut(rest, ".")
		}
		name, argument, call := strings.Cut(strings.TrimSuffix(part, ")"), "(")
		argument = strings.Trim(argument, "'\"")
		switch {
		case part == "$this":
		case call && (name == "resolve" || name == "extension" || name == "ofType"):
			out = append(out, step{name, argument})
		case call || name == "":
			return nil, false
		default:
			out = append(out, step{"member", name})
		}
	}
	return out, true
}

// descend follows a path through the definition: into the profiles that elements name, and into fixed values and patterns.
func (r *run) descend(e *element, p *Profile, steps []step) *element {
	for _, s := range steps {
		var next *element
		switch s.kind {
		case "member":
			if !e.fixed.IsZero() || !e.pattern.IsZero() {
				part := e.fixed
				if part.IsZero() {
					part = e.pattern
				}
				if part = part.Get(s.name); part.Kind == '[' && len(part.Items) == 1 {
					part = part.Items[0]
				}
				if !part.IsZero() && part.Kind != '[' {
					next = &element{id: e.id, name: s.name, pattern: part}
				}
			}
			if next == nil {
				next = e.child(s.name)
			}
			if next == nil {
				if p2 := r.onlyProfile(e, p); p2 != nil {
					next, p = p2.root.child(s.name), p2
				}
			}
			if next == nil && e.content != "" {
				if target := p.root.at(e.content); target != nil {
					next = target.child(s.name)
				}
			}
		case "extension":
			if all := e.child("extension"); all != nil {
				for _, slice := range all.slices {
					if extensionURL(slice) == s.name {
						next = slice
					}
				}
			}
		case "ofType":
			next = e
		case "resolve":
			next = &element{id: e.id, path: e.path, name: e.name, max: unbounded}
			for _, t := range e.types {
				for _, canonical := range t.targets {
					typ := r.c.Library.typeOf(canonical)
					if typ == "" {
						return nil
					}
					next.types = append(next.types, typeRef{code: typ, profiles: []string{canonical}})
				}
			}
		}
		if next == nil {
			return nil
		}
		e = next
	}
	return e
}

// onlyProfile is the profile of an element that names one.
func (r *run) onlyProfile(e *element, by *Profile) *Profile {
	if len(e.types) != 1 || len(e.types[0].profiles) != 1 {
		return nil
	}
	p, err := r.c.Library.beside(by, e.types[0].profiles[0])
	if err != nil {
		return nil
	}
	return p
}

// follow follows a path through the resource. all is false when a reference leads where nothing is known.
func (r *run) follow(items []item, steps []step) (found []item, all bool) {
	all = true
	for _, s := range steps {
		var next []item
		for _, v := range items {
			switch s.kind {
			case "member":
				list := v.reach(s.name, false, nil)
				if len(list) == 0 {
					list = v.reach(s.name, true, nil)
				}
				next = append(next, list...)
			case "extension":
				for _, x := range v.reach("extension", false, []typeRef{{code: "Extension"}}) {
					if x.node.Get("url").Text() == s.name {
						next = append(next, x)
					}
				}
			case "ofType":
				if v.typ == s.name {
					next = append(next, v)
				}
			case "resolve":
				if target, ok := r.resolve(v); ok {
					next = append(next, target)
				} else {
					all = false
				}
			}
		}
		items = next
	}
	return items, all
}

// satisfies says whether an item has the value by which an element tells slices: fixed, a pattern, a code of a required value
// set, or such values in what stands below it. It cannot be told where the element has none of these.
func (r *run) satisfies(v item, e *element, depth int) verdict {
	switch {
	case depth > 8 || !r.more(v):
		return untold
	case !e.fixed.IsZero():
		return told(equal(v.node, e.fixed))
	case !e.pattern.IsZero():
		return told(matches(v.node, e.pattern))
	}
	out, asked := yes, false
	for _, c := range e.children {
		if c.min == 0 {
			continue
		}
		one := no
		for _, i := range v.reach(c.name, c.choice, c.types) {
			one = one.or(r.satisfies(i, c, depth+1))
		}
		if one == no && r.satisfies(item{}, c, depth+1) == untold {
			continue // says nothing
		}
		if one != untold {
			asked = true
			out = out.also(one)
		}
	}
	if asked {
		return out
	}
	for _, b := range e.bindings {
		if !b.required {
			continue
		}
		out := no
		for _, c := range codings(v) {
			switch r.c.holds(b.valueSet, c) {
			case terminology.In:
				out = out.or(yes)
			case terminology.Untold:
				out = out.or(untold)
			}
		}
		return out
	}
	return untold
}
