package consent

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"trellis/fhir"
)

// Form is a way to write an instrument as an R4 Consent.
type Form string

// The forms. One resource cannot satisfy them all: each is a projection of the model.
const (
	FormR4     Form = "r4"
	FormPCF    Form = "ihe-pcf"
	FormFAST   Form = "hl7-fast"
	FormSDOHCC Form = "sdohcc"
)

// Forms lists the forms there are.
func Forms() []Form { return []Form{FormR4, FormPCF, FormFAST, FormSDOHCC} }

// Loss is a part of an instrument a form could not hold and that was left out. What is left out never lets more be
// disclosed.
type Loss struct{ Code, Text string }

// Inexpressible is the refusal to write an instrument in a form: it would say more, or be no such form.
type Inexpressible struct {
	Form Form
	Text string
}

func (e *Inexpressible) Error() string {
	return fmt.Sprintf("consent: the form %s cannot hold the instrument: %s", e.Form, e.Text)
}

// shape is what a form has places for, as far as forms differ.
type shape struct {
	form     Form
	profile  string           // canonical of the form's own profile
	category []map[string]any // besides our own, the kind
	hold     func(disclosers []map[string]any) map[string]any

	ours        bool     // our extensions that narrow a rule may be used: readers of the form know them
	content     bool     // action, class and code
	depth       int      // of rules, 0 for any
	needsHolder bool     // an organisation that holds the records is required
	needsSource bool     // the signed artefact is required
	byReference bool     // and has to be a resource
	statuses    []string // none: all
	policyRule  func(Kind) []map[string]any
}

func shapeOf(form Form) (shape, bool) {
	switch form {
	case FormR4:
		return shapeR4(), true
	case FormPCF:
		return shapePCF(), true
	case FormFAST:
		return shapeFAST(), true
	case FormSDOHCC:
		return shapeSDOHCC(), true
	}
	return shape{}, false
}

// Write projects an instrument to a form. A permit the form cannot hold is left out and told of; where nothing would be left,
// or a refusal cannot be held, the instrument is not written at all: a reader would take it for more than it is. Read finds in
// what was written nothing that the instrument itself does not permit.
func Write(c Consent, form Form) (doc []byte, losses []Loss, err error) {
	s, ok := shapeOf(form)
	if !ok {
		return nil, nil, &Inexpressible{form, "there is no such form"}
	}
	w := &projection{shape: s, c: &c}
	if fault := w.fault(); fault != "" {
		return nil, nil, &Inexpressible{form, fault}
	}
	root, fault := w.rule(&c.Root, 1)
	if fault != "" {
		return nil, nil, &Inexpressible{form, fault}
	}
	out := w.head()
	out["provision"] = root
	w.period(root)
	doc, err = json.Marshal(out)
	return doc, w.losses, err
}

// projection is one instrument on its way into a form.
type projection struct {
	shape
	c      *Consent
	losses []Loss
}

func (w *projection) lose(code, text string) {
	if l := (Loss{code, text}); !slices.Contains(w.losses, l) {
		w.losses = append(w.losses, l)
	}
}

// fault is why the instrument cannot be written in the form whatever its rules are, "" for nothing.
func (w *projection) fault() string {
	c := w.c
	switch {
	case c.Broken:
		return "it could not be read whole"
	case c.Patient.Type != "Patient":
		return "it names no patient"
	case c.Kind == KindOrder && !w.ours:
		return "a court order is no patient's consent"
	case len(w.statuses) > 0 && !slices.Contains(w.statuses, c.Status):
		return "its status has no place there"
	case w.needsHolder && len(c.Disclosers) == 0:
		return "who may disclose is required"
	case w.needsSource && c.Source.Reference == "" && !c.Source.Attached:
		return "the signed document is required"
	case w.byReference && c.Source.Reference == "":
		return "the signed document has to be a resource of its own; $fileConsent makes it one"
	}
	return ""
}

// head is all but the rules.
func (w *projection) head() map[string]any {
	c := w.c
	out := map[string]any{"resourceType": "Consent", "status": c.Status, "meta": map[string]any{"profile": []string{w.profile}},
		"scope":    map[string]any{"coding": []any{coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")}},
		"category": w.categories(), "patient": reference(c.Patient.Type, c.Patient.ID),
		"policy": []any{map[string]any{"uri": policyURL(c.Kind)}}}
	if fhir.ValidID(c.ID) {
		out["id"] = c.ID
	}
	if !c.Signed.IsZero() {
		out["dateTime"] = instant(c.Signed.UnixMicro())
	}
	var extension []any
	if len(c.Disclosers) > 0 {
		var holders []map[string]any
		for _, id := range c.Disclosers {
			holders = append(holders, reference("Organization", id))
		}
		for name, value := range w.hold(holders) {
			if list, ok := value.([]any); ok && name == "extension" {
				extension = append(extension, list...)
				continue
			}
			out[name] = value
		}
	}
	if list := w.policyRule(c.Kind); len(list) > 0 {
		out["policyRule"] = map[string]any{"coding": list}
	}
	w.source(out)
	if extension = append(extension, w.extensions()...); len(extension) > 0 {
		out["extension"] = extension
	}
	return out
}

func (w *projection) categories() []any {
	var out []any
	for _, c := range w.category {
		out = append(out, map[string]any{"coding": []any{c}})
	}
	if w.c.Kind != "" {
		out = append(out, map[string]any{"coding": []any{coding(SystemKind, string(w.c.Kind))}})
	}
	return out
}

// policyURL names the rules an instrument of a kind is written under, with the version of its form.
func policyURL(k Kind) string {
	if k == "" {
		k = "unstated" // no kind: no basis for anything
	}
	return policyBase + string(k) + "/2024"
}

func (w *projection) source(out map[string]any) {
	s := w.c.Source
	switch {
	case s.Reference != "":
		typ, id, _ := strings.Cut(s.Reference, "/")
		out["sourceReference"] = reference(typ, id)
	case s.Attached:
		attachment := map[string]any{"title": s.Title}
		if s.Title == "" {
			attachment["title"] = "Signed form"
		}
		if s.ContentType != "" {
			attachment["contentType"] = s.ContentType
		}
		out["sourceAttachment"] = attachment
		w.lose("source", "the signed document's bytes stay with who holds it")
	case w.c.Signature:
		out["verification"] = []any{map[string]any{"verified": true}}
	}
}

// period writes when the instrument is in force, on its root rule.
func (w *projection) period(root map[string]any) {
	period := map[string]any{}
	if w.c.From.After(w.c.Signed) {
		period["start"] = instant(w.c.From.UnixMicro())
	}
	if !w.c.End.IsZero() {
		period["end"] = lastInstant(w.c.End.UnixMicro())
	}
	if len(period) > 0 {
		root["period"] = period
	}
}

func coding(system, code string) map[string]any {
	if system == "" {
		return map[string]any{"code": code}
	}
	return map[string]any{"system": system, "code": code}
}

// reference names a resource by its id here and, for readers who go by identifiers, by the same as identifier.
func reference(typ, id string) map[string]any {
	return map[string]any{"reference": typ + "/" + id, "type": typ, "identifier": map[string]any{"system": SystemIDs, "value": id}}
}

// instant writes microseconds so that ParseDate reads the same beginning.
func instant(micro int64) string {
	return time.UnixMicro(micro).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
}

// lastInstant writes the exclusive end of a span as R4 has it, inclusive: the last second or microsecond of it, so that
// ParseDate reads the same end.
func lastInstant(micro int64) string {
	if micro%1_000_000 == 0 {
		return instant(micro - 1_000_000)
	}
	return instant(micro - 1)
}
