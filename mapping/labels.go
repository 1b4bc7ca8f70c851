package mapping

import (
	"slices"
	"strings"
)

// A Label is a security label that a rule of the mapping asks for. Mapping names it; others decide what it means.
type Label struct {
	System string `json:"system"`
	Code   string `json:"code"`
	Rule   string `json:"rule"`
}

// v3ActCode holds HL7's sensitivity and policy codes.
const v3ActCode = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

// knownLabel tells whether a pack may use a code: those of v3-ActCode that the label rules of this project know.
func knownLabel(code string) bool {
	return slices.Contains(knownLabels(), code)
}

func knownLabels() []string {
	return []string{"42CFRPart2", "SUD", "ETH", "ETHUD", "OPIOIDUD", "MH", "PSY", "BH", "SDV", "VIO", "LIVARG", "HIV", "SEX",
		"GDIS", "SSP", "EMPL", "DVD"}
}

// A labelRule adds labels to a resource: fixed codes, codes computed from the record, or the union of the labels of
// the resources in other slots that the resource speaks of.
type labelRule struct {
	leaf
	id    string
	test  *predicate
	add   []string
	codes *predicate // yields codes separated by blanks
	from  []string
}

// labels runs the rules of every planned resource; unions come after the rest.
func (r *run) labels(res []Resource) {
	for i := range r.plan {
		r.focus(&r.plan[i])
		for j := range r.m.labels {
			if directory(r.plan[i].em.resource) {
				break
			}
			r.label(&r.m.labels[j], &res[i])
		}
		for j := range r.plan[i].em.labels {
			r.label(&r.plan[i].em.labels[j], &res[i])
		}
	}
	// A union may take from a resource that has one itself, so go round until nothing is added.
	for added := true; added; {
		added = false
		for i := range r.plan {
			for j := range r.plan[i].em.labels {
				if rule := &r.plan[i].em.labels[j]; len(rule.from) > 0 && r.union(rule, i, res) {
					added = true
				}
			}
		}
	}
}

// directory tells whether a type describes workers and places rather than a patient; rules for the whole record do not
// speak of those.
func directory(resource string) bool {
	switch resource {
	case "Organization", "Practitioner", "PractitionerRole", "Location", "HealthcareService":
		return true
	}
	return false
}

func (r *run) focus(inst *instance) {
	r.stand(inst)
	r.keys = inst.keys
}

func (r *run) label(rule *labelRule, to *Resource) {
	if len(rule.from) > 0 || !r.test(rule.test) {
		return
	}
	r.labelled(rule, to)
	for _, code := range rule.add {
		to.addLabel(Label{System: v3ActCode, Code: code, Rule: rule.id})
	}
	if rule.codes == nil {
		return
	}
	v, ok := r.compute(rule.codes)
	if !ok {
		return
	}
	text, _ := scalar(v)
	for _, code := range strings.Fields(text) {
		if knownLabel(code) {
			to.addLabel(Label{System: v3ActCode, Code: code, Rule: rule.id})
		}
	}
}

// labelled records that the fields a rule reads went into meta.security.
func (r *run) labelled(rule *labelRule, to *Resource) {
	if len(rule.fields) == 0 {
		return
	}
	r.env.tally.carry(&rule.leaf)
	if !r.env.Lineage {
		return
	}
	to.Lineage = append(to.Lineage, Lineage{Element: to.Type + ".meta.security", Rule: rule.rule})
}

// union gives a resource that holds others' answers everything they are labelled with.
// It tells whether that added any.
func (r *run) union(rule *labelRule, at int, res []Resource) bool {
	before := len(res[at].Labels)
	for i := range r.plan {
		if i == at || !slices.Contains(rule.from, r.plan[i].em.slot) || !related(r.plan[i].keys, r.plan[at].keys) {
			continue
		}
		for _, l := range res[i].Labels {
			res[at].addLabel(Label{System: l.System, Code: l.Code, Rule: rule.id})
		}
	}
	return len(res[at].Labels) > before
}

// addLabel adds a label unless the resource carries its code already.
func (res *Resource) addLabel(l Label) {
	for _, have := range res.Labels {
		if have.System == l.System && have.Code == l.Code {
			return
		}
	}
	res.Labels = append(res.Labels, l)
}
