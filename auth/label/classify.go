package label

import (
	"cmp"
	"slices"
	"strconv"

	"trellis/fhir"
)

// Classifier labels resources by a rule pack. Make one with New or Load; it is safe for concurrent use.
type Classifier struct {
	version   string
	switched  []string
	rules     []Rule
	byID      map[string]int
	systems   map[string]*table // by code system
	tables    map[string]*table // by file
	need      map[int]int       // parts of each combination rule
	medicines phrases
	words     phrases
	programs  Programs
}

// Finding is a rule that fired, and where.
type Finding struct {
	Rule string `json:"rule"`
	Path string `json:"path,omitempty"` // element, "" for the whole record
	// Labels the rule gave.
	Labels     []fhir.Coding `json:"labels,omitempty"`
	Confidence string        `json:"confidence"`
	Basis      string        `json:"basis"`
	Status     string        `json:"status"`
}

// Given are labels nobody could find again by looking at the stored resource.
type Given struct {
	Inbound []fhir.Coding `json:"inbound,omitempty"` // came with it, in meta.security
	Mapped  []fhir.Coding `json:"mapped,omitempty"`  // the mapping's rules gave them
}

// Verdict is what was found about a resource.
type Verdict struct {
	Segment  Segment // with everything
	Own      Segment // what source and rules alone say
	Given    Given
	Findings []Finding
	// Version names the pack and what was switched.
	Version string
	// Review is set where words alone decided: a person has to look.
	Review *Review

	words words
	by    *Classifier
}

// Review is what a person has to look at.
type Review struct {
	Rules  []string
	Digest string  // of the texts in question: an answer holds for these and no others
	Kept   Segment // with the text's label
	Clear  Segment // without it
}

// words is what text rules found.
type words struct {
	rules    []string
	digest   string // "" for nothing
	findings []Finding
}

// Classify gives the segment of a resource. mapped are labels the mapping's rules gave out.
// Labels in the resource's own meta.security are kept.
func (c *Classifier) Classify(r *fhir.Resource, src Source, mapped []fhir.Coding) Segment {
	return c.Examine(r, src, mapped).Segment
}

// Examine gives the segment of a resource and the rules it rests on.
func (c *Classifier) Examine(r *fhir.Resource, src Source, mapped []fhir.Coding) Verdict {
	v := Verdict{by: c, Version: c.version, Given: Given{Inbound: inbound(r), Mapped: mapped}}
	if Directory(r.Type) {
		v.Own = Segment{Custodian: src.Organization, Confidentiality: "U", Directory: true}
		v.Segment = v.Own
		return v
	}
	x := examination{c: c, labels: map[fhir.Coding]bool{}, parts: map[part]bool{}}
	if src.Part2 {
		x.found(c.byID[ruleSource], nil)
	}
	x.visit(r.Root, &spot{name: r.Type}, false)
	x.combine()
	if !x.classified(r) {
		x.found(c.byID[ruleUnclassified], nil)
	}
	v.Own = settle(Segment{Custodian: src.Organization, Covered: src.Covered, Evaluator: src.Evaluator, Confidentiality: "N"}, x.labels)
	if !explainedBy(v.Own) {
		v.words = x.read(r)
	}
	v.Findings = x.findings
	return v.under(v.Given)
}

// Under is the verdict with other labels given than those the resource brought: what is remembered of it.
func (v Verdict) Under(given Given) Verdict {
	v.Findings = slices.DeleteFunc(slices.Clone(v.Findings), func(f Finding) bool {
		return f.Rule == ruleInbound || f.Rule == ruleMapped || v.Review != nil && slices.Contains(v.Review.Rules, f.Rule)
	})
	return v.under(given)
}

func (v Verdict) under(given Given) Verdict {
	v.Given, v.Review = given, nil
	v.Segment = v.Own.With(given.Inbound).With(given.Mapped)
	if v.Segment.Directory {
		return v
	}
	for rule, labels := range map[string][]fhir.Coding{ruleInbound: given.Inbound, ruleMapped: given.Mapped} {
		for _, l := range labels {
			v.Findings = append(v.Findings, finding(v.by.rules[v.by.byID[rule]], nil, []fhir.Coding{l}))
		}
	}
	if v.words.digest == "" || explainedBy(v.Segment) { // the words say no more than the labels do
		return v
	}
	clear := v.Segment
	v.Segment = clear.With([]fhir.Coding{unclassifiedLabel(), {System: fhir.SystemConfidentiality, Code: "R"}})
	v.Review = &Review{Rules: v.words.rules, Digest: v.words.digest, Kept: v.Segment, Clear: clear}
	v.Findings = append(v.Findings, v.words.findings...)
	return v
}

// inbound reads meta.security. Alteration tags and refrain codes stay with the record like any label.
func inbound(r *fhir.Resource) []fhir.Coding {
	var out []fhir.Coding
	for _, n := range r.Root.Get("meta").Get("security").List() {
		if code := n.Get("code").Text(); code != "" {
			out = append(out, fhir.Coding{System: n.Get("system").Text(), Code: code})
		}
	}
	return out
}

// With is the segment with more labels.
func (s Segment) With(labels []fhir.Coding) Segment {
	if s.Directory || len(labels) == 0 {
		return s
	}
	set := map[fhir.Coding]bool{}
	for _, l := range append(slices.Clone(s.Labels), labels...) {
		if l.System == fhir.SystemConfidentiality {
			s.Confidentiality = higher(s.Confidentiality, l.Code)
		} else {
			set[l] = true
		}
	}
	return settle(s, set)
}

// settle fills in what follows from a set of labels.
func settle(s Segment, set map[fhir.Coding]bool) Segment {
	s.Part2 = set[part2Label()]
	s.CounselingNote = set[fhir.Coding{System: SystemLocalLabel, Code: CodeCounselingNote}]
	s.Unclassified = set[unclassifiedLabel()]
	s.Labels = nil
	for l := range set {
		s.Labels = append(s.Labels, l)
		if l.System == fhir.SystemActCode && restricted(l.Code) {
			s.Confidentiality = higher(s.Confidentiality, "R")
		}
	}
	if s.CounselingNote {
		s.Confidentiality = higher(s.Confidentiality, "V")
	}
	slices.SortFunc(s.Labels, func(a, b fhir.Coding) int { return cmp.Compare(a.System+a.Code, b.System+b.Code) })
	return s
}

func part2Label() fhir.Coding { return fhir.Coding{System: fhir.SystemActCode, Code: "42CFRPart2"} }

func unclassifiedLabel() fhir.Coding {
	return fhir.Coding{System: SystemLocalLabel, Code: CodeUnclassified}
}

// examination is one resource being looked at.
type examination struct {
	c        *Classifier
	labels   map[fhir.Coding]bool
	parts    map[part]bool
	findings []Finding
	named    bool // a medicine was known by its name
}

// spot is where in a resource a value stands.
type spot struct {
	up    *spot
	name  string
	index int // +1; 0 for no item of a list
}

// String spells the element's path: Condition.code.coding[0].
func (s *spot) String() string {
	if s == nil {
		return ""
	}
	out := s.name
	if s.index > 0 {
		out += "[" + strconv.Itoa(s.index-1) + "]"
	}
	if s.up != nil {
		return s.up.String() + "." + out
	}
	return out
}

// found notes a rule that fired, once for each rule and element.
func (x *examination) found(rule int, at *spot) {
	r := x.c.rules[rule]
	for _, l := range r.Labels {
		x.labels[l] = true
	}
	x.findings = append(x.findings, finding(r, at, r.Labels))
}

func finding(r Rule, at *spot, labels []fhir.Coding) Finding {
	return Finding{Rule: r.ID, Path: at.String(), Labels: labels, Confidence: r.Confidence, Basis: r.Basis, Status: r.Status}
}

// visit looks at every value: contained resources raise what contains them. medicine says that names in it are names of
// medicines.
func (x *examination) visit(n fhir.Node, at *spot, medicine bool) {
	switch n.Kind {
	case '[':
		for i := range n.Items {
			x.visit(n.Items[i], &spot{at.up, at.name, i + 1}, medicine)
		}
		return
	case '{':
	default:
		return
	}
	x.coding(n, at)
	x.reference(n, at)
	if medicine {
		x.medicine(n, at)
	}
	drug := n.Get("resourceType").Text() == "Medication"
	for i := range n.Members {
		m := &n.Members[i]
		if m.Name == "meta" && at.up == nil {
			continue // labels and tags: read as such
		}
		if m.Value.Kind == '{' || m.Value.Kind == '[' {
			names := medicine || m.Name == "medicationCodeableConcept" || m.Name == "itemCodeableConcept" || drug && m.Name == "code"
			x.visit(m.Value, &spot{at, m.Name, 0}, names)
		}
	}
}

func (x *examination) coding(n fhir.Node, at *spot) {
	t := x.c.systems[n.Get("system").Text()]
	if t == nil {
		return
	}
	code := n.Get("code").Text()
	if code == "" {
		return
	}
	code = t.normal(code)
	for _, rule := range t.lookup(code) {
		x.found(rule, at)
	}
	for _, p := range t.parts[code] {
		x.parts[p] = true
	}
}

func (x *examination) reference(n fhir.Node, at *spot) {
	if x.c.programs == nil {
		return
	}
	text := n.Get("reference").Text()
	if text == "" {
		return
	}
	i := x.c.byID[ruleProgram]
	if !x.c.rules[i].On {
		return
	}
	if x.c.programs.Program(text) {
		x.found(i, at)
	}
}

func (x *examination) medicine(n fhir.Node, at *spot) {
	for _, name := range []string{"text", "display"} {
		for _, rule := range x.c.medicines.in(n.Get(name).Text()) {
			x.named = true
			x.found(rule, &spot{at, name, 0})
		}
	}
}

func (x *examination) combine() {
	have := map[int]int{}
	for p := range x.parts {
		have[p.rule]++
	}
	for rule, n := range have {
		if n == x.c.need[rule] {
			x.found(rule, nil)
		}
	}
}

// classified reports whether anything says what the record is about: a clinical record whose main code is in no system the
// tables cover could be about anything, and so could one that contains such a record.
func (x *examination) classified(r *fhir.Resource) bool {
	if !x.says(r.Root, r.Type) {
		return false
	}
	for _, inner := range r.Root.Get("contained").List() {
		typ := inner.Get("resourceType").Text()
		if name := mainCode(typ); name != "" && !inner.Get(name).IsZero() && !x.says(inner, typ) {
			return false
		}
	}
	return true
}

func (x *examination) says(root fhir.Node, typ string) bool {
	name := mainCode(typ)
	if name == "" {
		return true
	}
	for _, coding := range root.Path(name, "coding").List() {
		if x.c.covered(coding.Get("system").Text()) && coding.Get("code").Text() != "" {
			return true
		}
	}
	// A category of ours says what a record in a person's own words is about.
	for _, category := range root.Get("category").List() {
		for _, coding := range category.Get("coding").List() {
			if local(coding.Get("system").Text()) {
				return true
			}
		}
	}
	// A medication given by reference is classified where it is defined, a named one by its name.
	return name == "medicationCodeableConcept" && (x.named || !root.Get("medicationReference").IsZero())
}

// covered reports whether a code system is one whose codes the tables know, or one of ours.
func (c *Classifier) covered(system string) bool {
	t := c.systems[system]
	return t != nil && t.covers || local(system)
}

// explainedBy reports whether a segment says already what words could say.
func explainedBy(s Segment) bool {
	for _, code := range []string{"42CFRPart2", "SUD", "ETHUD", "OPIOIDUD", "ETH", "SSP"} {
		if s.Has(code) {
			return true
		}
	}
	return false
}
