package scaffold

import (
	"fmt"
	"regexp"
	"strings"
)

// A lines writes YAML with its indentation.
type lines struct {
	b     *strings.Builder
	depth int
}

func (l lines) put(format string, args ...any) {
	l.b.WriteString(strings.Repeat("  ", l.depth))
	fmt.Fprintf(l.b, format, args...)
	l.b.WriteByte('\n')
}

func (l lines) in() lines { return lines{l.b, l.depth + 1} }

// use takes a field for a rule and returns its path for a mapping, quoted where YAML needs it.
func (d *drafter) use(f *field) string {
	d.used[f] = true
	return quote(f.path)
}

// table makes a code table for a field with a closed list, and returns its name.
func (d *drafter) table(f *field) string {
	name := f.kind
	d.tables[name] = f
	return name
}

// one writes "element: {$copy: field}" when the field is known.
func (d *drafter) one(l lines, element, kind string) {
	if f := d.the(kind); f != nil {
		as := ""
		if !f.types["string"] {
			as = ", as: string"
		}
		l.put("%s: {$copy: %s%s}", element, d.use(f), as)
	}
}

// resources proposes what can be made of the fields that are known.
func (d *drafter) resources() {
	person := d.patient()
	screening := d.the("question") != nil || d.listed("question") != nil
	encounter := d.the("mode") != nil || d.the("place") != nil || d.the("minutes") != nil || d.the("start") != nil
	if person && encounter {
		d.encounter()
	}
	if person && screening {
		d.answers(encounter)
	}
	if d.body.Len() == 0 {
		l := lines{&d.body, 1}
		l.put("# Nothing of the sample was understood: choose a resource. Basic stands here so that the pack runs.")
		d.keyed = true
		l.put("- resource: Basic")
		l.in().put("slot: record")
		l.in().put("main: true")
		l.in().put("set:")
		l.in().in().put("code: {text: %s}", quote(d.name))
		d.note("no person, visit or answers were recognised by their names: the mapping makes a Basic resource for you to replace")
	}
}

// patient proposes the person, when there is a number or a name.
func (d *drafter) patient() bool {
	id := d.the("client-id")
	named := d.the("first-name") != nil || d.the("last-name") != nil || d.the("full-name") != nil
	if id == nil && !named {
		return false
	}
	l := lines{&d.body, 1}
	l.put("- resource: Patient")
	l = l.in()
	l.put("slot: patient")
	if id != nil {
		l.put("record: client")
		l.put("key: %s", d.use(id))
		l.put("main: true")
		l.put("shared: true")
	}
	if id == nil {
		d.keyed = true
		d.note("no column was taken for the person's number: the draft makes a person anew of every record. Where there is one, give the Patient record: client, key: that column, main: true and shared: true")
	}
	if named {
		l.put("profile: us-core-patient")
	}
	l.put("set:")
	l = l.in()
	d.origins(l)
	d.personName(l)
	if d.the("phone") != nil || d.the("email") != nil {
		l.put("telecom:")
		for _, kind := range []string{"phone", "email"} {
			if d.the(kind) != nil {
				l.in().put("- system: %s", kind)
				d.one(l.in().in(), "value", kind)
			}
		}
	}
	if f := d.the("sex"); f != nil && len(f.enum) > 0 {
		l.put("gender: {$code: %s, via: %s, as: code, else: unknown}", d.use(f), d.table(f))
	} else {
		l.put("gender: unknown")
	}
	if f := d.the("birth-date"); f != nil {
		l.put("birthDate: {$date: %s, as: date}", d.use(f))
	}
	d.address(l)
	if f := d.the("language"); f != nil && len(f.enum) > 0 {
		l.put("communication:")
		l.in().put("- language: {$code: %s, via: %s, text: %s}", d.use(f), d.table(f), quote(f.path))
		l.in().in().put("preferred: true")
	}
	l.put("managingOrganization: {$ref: organization}")
	return true
}

// origins proposes race and ethnicity as US Core has them: the category, where the source's word has one, and the word.
func (d *drafter) origins(l lines) {
	begun := false
	for _, kind := range []string{"race", "ethnicity"} {
		f := d.the(kind)
		if f == nil || len(f.enum) == 0 || !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`).MatchString(f.path) {
			continue
		}
		if !begun {
			l.put("extension:")
		}
		begun = true
		native, table := "record."+f.path, d.table(f)
		l.in().put("- $when: has(%s)", native)
		l := l.in().in()
		l.put("then:")
		l = l.in()
		l.put("url: http://hl7.org/fhir/us/core/StructureDefinition/us-core-%s", kind)
		l.put("extension:")
		l.in().put("- $when: \"table('%s', %s, 'code') != ''\"", table, native)
		l.in().in().put("then: {url: ombCategory, valueCoding: {$code: %s, via: %s, as: coding}}", d.use(f), table)
		l.in().put("- {url: text, valueString: {$copy: %s}}", quote(f.path))
	}
}

func (d *drafter) personName(l lines) {
	first, last, full := d.the("first-name"), d.the("last-name"), d.the("full-name")
	if first == nil && last == nil && full == nil {
		return
	}
	l.put("name:")
	if first == nil && last == nil {
		l.in().put("- text: {$copy: %s}", d.use(full))
		return
	}
	l.in().put("- use: official")
	in := l.in().in()
	d.one(in, "family", "last-name")
	if first != nil {
		in.put("given:")
		in.in().put("- {$copy: %s}", d.use(first))
		if middle := d.the("middle-name"); middle != nil {
			in.in().put("- {$copy: %s}", d.use(middle))
		}
	}
	if f := d.the("preferred-name"); f != nil {
		l.in().put("- use: usual")
		l.in().in().put("given: [{$copy: %s}]", d.use(f))
	}
}

func (d *drafter) address(l lines) {
	street, unit := d.the("street"), d.the("unit")
	if street == nil && d.the("city") == nil && d.the("zip") == nil && d.the("state") == nil {
		return
	}
	l.put("address:")
	l = l.in()
	l.put("- use: home")
	l = l.in()
	if street != nil {
		l.put("line:")
		l.in().put("- {$copy: %s}", d.use(street))
		if unit != nil {
			l.in().put("- {$copy: %s}", d.use(unit))
		}
	}
	d.one(l, "city", "city")
	d.one(l, "state", "state")
	d.one(l, "postalCode", "zip")
}

// encounter proposes the contact. What a visit is called in FHIR nobody can see from a sample: class and codes wait.
func (d *drafter) encounter() {
	d.worker()
	l := lines{&d.body, 1}
	d.keyed = true
	l.put("- resource: Encounter")
	l = l.in()
	l.put("slot: encounter")
	l.put("main: true")
	l.put("profile: us-core-encounter")
	l.put("set:")
	l = l.in()
	d.status(l)
	unknown := "{system: http://terminology.hl7.org/CodeSystem/data-absent-reason, code: unknown, display: Unknown}"
	if f := d.the("place"); f != nil && len(f.enum) > 0 {
		l.put("class: {$code: %s, via: %s, as: coding, else: %s}", d.use(f), d.table(f), unknown)
	} else {
		l.put("class: %s", unknown)
	}
	if f := d.the("mode"); f != nil && len(f.enum) > 0 {
		l.put("type: [{$code: %s, via: %s, text: %s}]", d.use(f), d.table(f), quote(f.path))
	} else {
		l.put("type: [{coding: [%s]}]", unknown)
	}
	l.put("subject: {$ref: patient}")
	name, id := d.the("worker-name"), d.the("worker-id")
	switch {
	case id != nil:
		l.put("participant:")
		l.in().put("- individual: {$ref: worker}")
	case name != nil:
		l.put("participant:")
		l.in().put("- individual: {display: {$copy: %s}}", d.use(name))
	}
	start, end := d.the("start"), d.the("end")
	for _, kind := range []string{"date", "recorded"} {
		if start == nil {
			start = d.the(kind)
		}
	}
	if end == nil && d.the("end-time") != nil {
		end = start // it ended on the day
	}
	if start != nil || end != nil {
		l.put("period:")
		if start != nil {
			l.in().put("start: {$date: %s}", d.when(start, "start-time"))
		}
		if end != nil {
			l.in().put("end: {$date: %s}", d.when(end, "end-time"))
		}
	}
	if f := d.the("minutes"); f != nil && f.numeric() {
		l.put("length: {$unit: %s, code: min, unit: minutes}", d.use(f))
	}
	l.put("serviceProvider: {$ref: organization}")
}

// worker proposes the staff member as somebody other records may tell of too.
func (d *drafter) worker() {
	id := d.the("worker-id")
	if id == nil {
		return
	}
	l := lines{&d.body, 1}
	l.put("- resource: PractitionerRole")
	l = l.in()
	l.put("slot: worker")
	l.put("record: worker")
	l.put("key: %s", d.use(id))
	l.put("main: true")
	l.put("shared: true")
	l.put("set:")
	l = l.in()
	l.put("active: true")
	if name := d.the("worker-name"); name != nil {
		l.put("practitioner: {display: {$copy: %s}}", d.use(name))
	}
	l.put("organization: {$ref: organization}")
}

func (d *drafter) status(l lines) {
	if f := d.the("status"); f != nil && len(f.enum) > 0 {
		l.put("status: {$code: %s, via: %s, as: code, else: unknown}", d.use(f), d.table(f))
		return
	}
	l.put("status: unknown")
}

// listed finds a field of a kind inside a list of the record.
func (d *drafter) listed(kind string) *field {
	for _, f := range d.fields {
		if f.kind == kind && f.list {
			return f
		}
	}
	return nil
}

// answers proposes one Observation for each question: rows of CSV, or items of a list.
func (d *drafter) answers(encounter bool) {
	question, answer := d.the("question"), d.the("answer")
	from := "rows"
	if !d.csv {
		question, answer = d.listed("question"), d.listed("answer")
		if question == nil {
			return
		}
		at := strings.LastIndex(question.path, "[].")
		if at < 0 || strings.Contains(question.path[:at], "[]") || strings.Contains(question.path[at+3:], ".") {
			d.note("questions stand in lists within lists: write the rule for them yourself")
			return
		}
		from = question.path[:at]
		if answer != nil && !strings.HasPrefix(answer.path, from+"[].") {
			answer = nil
		}
	}
	if len(question.enum) == 0 {
		d.note("%s: too many or too long questions to be taken over; fill a code table question.csv and write the rule", question.label())
		return
	}
	item := func(f *field) string {
		d.used[f] = true
		return quote("answered." + f.name)
	}
	l := lines{&d.body, 1}
	d.keyed = true
	l.put("- resource: Observation")
	l = l.in()
	l.put("slot: answer")
	l.put("each: {from: %s, as: answered, key: %s}", quote(from), item(question))
	l.put("profile: us-core-observation-screening-assessment")
	l.put("set:")
	l = l.in()
	l.put("status: unknown")
	l.put("category:")
	l.in().put("- coding: [{system: http://terminology.hl7.org/CodeSystem/observation-category, code: survey, display: Survey}]")
	l.put("code: {$code: %s, via: %s, else: {text: Question}}", item(question), d.table(question))
	l.put("subject: {$ref: patient}")
	if encounter {
		l.put("encounter: {$ref: encounter}")
	}
	for _, kind := range []string{"recorded", "start", "date"} {
		if f := d.the(kind); f != nil {
			l.put("effectiveDateTime: {$date: %s}", d.use(f))
			break
		}
	}
	if answer != nil && len(answer.enum) > 0 {
		l.put("valueCodeableConcept: {$code: %s, via: %s}", item(answer), d.table(answer))
		d.note("answers mean something only together with their question: when questions share answers, look up [question, answer] instead")
	}
}
