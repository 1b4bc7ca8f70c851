package mapping

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

// strictPack is a pack with one resource that is sound but for what the test puts into it: head are further keys of the
// emission, set is its body from line 10 on.
func strictPack(resource, head, set string) fstest.MapFS {
	files := tinyFiles("map: tiny\nversion: 1.0.0\nkey: id\nemit:\n  - resource: " + resource + "\n    slot: it\n    main: true\n" +
		"    " + head + "\n    set:\n" + indent(set, "      ") + "\nignore:\n" + unusedFields(""))
	files["tiny/codes/kind.csv"].Data = []byte("native,system,code,display,direction,extra\n" +
		"a,http://hl7.org/fhir/observation-status,final,,both,x\nb,http://hl7.org/fhir/observation-status,amended,,both,\n")
	files["tiny/codes/wrong.csv"] = &fstest.MapFile{Data: []byte("native,system,code,display,direction\na,http://s,finall,,both\nb,http://s,amended,,both\n")}
	return files
}

// Every kind of fault that R4, profiles and the schema give, with the whole message.
func TestStrictFaults(t *testing.T) {
	const observation = "status: final\ncode: {text: x}\n"
	tests := []struct{ name, resource, head, set, want string }{
		{"sound", "Observation", "", observation, ""},
		{"type", "Observatoin", "", "status: final",
			`tiny/tiny.map.yaml:5: R4 has no resource type "Observatoin"; did you mean "Observation"?`},
		{"element", "Observation", "", observation + "efectiveDateTime: {$date: when}",
			`tiny/tiny.map.yaml:12: Observation has no element "efectiveDateTime"; did you mean "effectiveDateTime"?`},
		{"element below", "Observation", "", observation + "component: [{code: {text: x}, valu: 1}]",
			`tiny/tiny.map.yaml:12: Observation.component has no element "valu"; write it with its type: valueQuantity, valueCodeableConcept, valueString, valueBoolean, …`},
		{"choice without type", "Observation", "", observation + "value: x",
			`tiny/tiny.map.yaml:12: Observation has no element "value"; write it with its type: valueQuantity, valueCodeableConcept, valueString, valueBoolean, …`},
		{"element of an extension", "Patient", "", "extension: [{url: x, valueStrin: y}]",
			`tiny/tiny.map.yaml:10: Patient.extension has no element "valueStrin"; did you mean "valueString"?`},
		{"beside a primitive", "Observation", "", observation + "_status: {value: x}",
			`tiny/tiny.map.yaml:12: Observation._status has no element "value", only id and extension`},
		{"beside an object", "Observation", "", observation + "_subject: {id: x}",
			`tiny/tiny.map.yaml:12: Observation._subject stands beside no primitive: subject is a Reference`},
		{"required", "Observation", "", "status: final",
			`tiny/tiny.map.yaml:5: Observation has no rule for code, which R4 requires`},
		{"required code", "Observation", "", "code: {text: x}",
			`tiny/tiny.map.yaml:5: Observation has no rule for status, which R4 requires; for what is not known: unknown`},
		{"required below", "Observation", "", observation + "component:\n  - valueString: {$copy: word}",
			`tiny/tiny.map.yaml:13: Observation.component has no rule for code, which R4 requires`},
		{"required choice", "MedicationRequest", "", "status: active\nintent: order\nsubject: {display: x}",
			`tiny/tiny.map.yaml:5: MedicationRequest has no rule for medication[x], which R4 requires; write it with its type, as in medicationCodeableConcept`},
		{"list for one", "Observation", "", "status: [final]\ncode: {text: x}",
			`tiny/tiny.map.yaml:10: Observation.status is a list, and R4 has one code there; take it out of its brackets`},
		{"repetition above one", "Observation", "", observation + "subject:\n  - {display: a}\n  - {display: b}",
			`tiny/tiny.map.yaml:12: Observation.subject is a list, and R4 has one Reference there; take it out of its brackets`},
		{"one for a list", "Observation", "", observation + "category: {text: x}",
			`tiny/tiny.map.yaml:12: Observation.category is a list in R4, and one value stands there; put it into brackets: […]`},
		{"each for one", "Observation", "", observation + "valueString: {$each: list, as: x, item: {$copy: x.value}}",
			`tiny/tiny.map.yaml:12: Observation.valueString takes one string in R4, and a list is made there`},
		{"all for one", "Observation", "", observation + "subject: {$ref: it, all: true}",
			`tiny/tiny.map.yaml:12: Observation.subject takes one reference, and all: true makes a list; leave out all`},
		{"object for a text", "Observation", "", observation + "valueString: {text: x}",
			`tiny/tiny.map.yaml:12: Observation.valueString is a string, and an object stands there`},
		{"text for an object", "Observation", "", "status: final\ncode: x",
			`tiny/tiny.map.yaml:11: Observation.code is a CodeableConcept, and a plain value stands there; use $code, or {text: …}`},
		{"copy for an object", "Observation", "", observation + "bodySite: {$copy: word}",
			`tiny/tiny.map.yaml:12: $copy makes one value, and Observation.bodySite is a CodeableConcept; use $code, or {text: …}`},
		{"copy of a list", "Observation", "", observation + "valueString: {$copy: list}",
			`tiny/tiny.map.yaml:12: $copy takes one value, and list holds several; walk it with $each`},
		{"number for a text", "Observation", "", observation + "valueString: {$copy: number}",
			`tiny/tiny.map.yaml:12: Observation.valueString is a string, and $copy writes a number; write as: string`},
		{"text for a number", "Observation", "", observation + "valueInteger: {$copy: word}",
			`tiny/tiny.map.yaml:12: Observation.valueInteger is an integer, and $copy writes a string; write as: integer`},
		{"text for a boolean", "Patient", "", "active: {$copy: word}",
			`tiny/tiny.map.yaml:10: Patient.active is a boolean, and $copy writes a string; write as: boolean`},
		{"constant boolean in quotes", "Patient", "", `active: "true"`,
			`tiny/tiny.map.yaml:10: Patient.active is a boolean, and the constant is a string; write true or false without quotes`},
		{"constant number for a text", "Observation", "", observation + "valueString: 224",
			`tiny/tiny.map.yaml:12: Observation.valueString is a string, and the constant is an integer; write it in quotes`},
		{"derived integer for a text", "Observation", "", observation + `valueString: {$derive: "1 + 1", as: integer}`,
			`tiny/tiny.map.yaml:12: Observation.valueString is a string, and $derive writes an integer; write as: string`},
		{"join for a number", "Observation", "", observation + `valueInteger: {$join: [word, at], by: " "}`,
			`tiny/tiny.map.yaml:12: Observation.valueInteger is an integer, and $join writes a string; write as: integer`},
		{"unit for a text", "Observation", "", observation + "valueString: {$unit: number, code: min}",
			`tiny/tiny.map.yaml:12: $unit makes a Quantity, and Observation.valueString is a string; use $copy`},
		{"date for a text", "Observation", "", observation + "valueString: {$date: when}",
			`tiny/tiny.map.yaml:12: $date makes a date, and Observation.valueString is a string; use $copy`},
		{"time for a day", "Patient", "", "birthDate: {$date: when}",
			`tiny/tiny.map.yaml:10: Patient.birthDate is a date, and $date writes a dateTime; write as: date`},
		{"concept for a code", "Observation", "", "status: {$code: kind, via: kind}\ncode: {text: x}",
			`tiny/tiny.map.yaml:10: $code makes a CodeableConcept, and Observation.status is a code; write as: code`},
		{"code for a concept", "Observation", "", "status: final\ncode: {$code: kind, via: kind, as: code}",
			`tiny/tiny.map.yaml:11: $code with as: code makes a code, and Observation.code is a CodeableConcept; leave out as`},
		{"coding for a concept", "Observation", "", "status: final\ncode: {$code: kind, via: kind, as: coding}",
			`tiny/tiny.map.yaml:11: $code with as: coding makes a Coding, and Observation.code is a CodeableConcept; leave out as`},
		{"ref for a text", "Observation", "", observation + "valueString: {$ref: organization}",
			`tiny/tiny.map.yaml:12: $ref makes a Reference, and Observation.valueString is a string; use $copy`},
		{"ref to a wrong type", "Observation", "", observation + "subject: {$ref: organization}",
			`tiny/tiny.map.yaml:12: Observation.subject may not point to an Organization; it may point to Patient, Group, Device, Location`},
		{"ref to a type that is none", "Observation", "", observation + "focus: [{$ref: Gaol, record: goal, key: id, slot: goal}]",
			`tiny/tiny.map.yaml:12: R4 has no resource type "Gaol"; did you mean "Goal"?`},
		{"narrative elsewhere", "Observation", "", observation + "valueString: {$text: [{say: x}]}",
			`tiny/tiny.map.yaml:12: $text makes a Narrative, and Observation.valueString is a string; use $copy`},
		{"code outside the binding", "Observation", "", "status: finall\ncode: {text: x}",
			`tiny/tiny.map.yaml:10: R4 does not allow the code "finall" in Observation.status; did you mean "final"?`},
		{"table outside the binding", "Observation", "", "status: {$code: kind, via: wrong, as: code}\ncode: {text: x}",
			`tiny/codes/wrong.csv:2: R4 does not allow the code "finall" in Observation.status; did you mean "final"?`},
		{"profile of another type", "Observation", "profile: us-core-goal", observation,
			`tiny/tiny.map.yaml:8: profile us-core-goal is for Goal, and the resource is an Observation`},
		{"profile that is none", "Observation", "profile: us-core-simple-observatoin", observation,
			`tiny/tiny.map.yaml:8: no profile us-core-simple-observatoin is known; did you mean "us-core-simple-observation"?`},
		{"profile asks for an element", "Encounter", "profile: us-core-encounter", "status: finished\nclass: {code: AMB}\nsubject: {display: x}",
			`tiny/tiny.map.yaml:8: profile us-core-encounter (6.1.0, 7.0.0, 8.0.0) asks for Encounter.type, and no rule makes it`},
		{"profile asks below", "CareTeam", "profile: us-core-careteam", "subject: {display: x}\nparticipant:\n  - role: [{text: x}]",
			`tiny/tiny.map.yaml:12: profile us-core-careteam (6.1.0, 7.0.0, 8.0.0) asks for CareTeam.participant.member, and no rule makes it`},
		{"profile asks for a category", "CarePlan", "profile: us-core-careplan", "status: active\nintent: plan\nsubject: {display: x}\ncategory: [{text: x}]",
			`tiny/tiny.map.yaml:8: profile us-core-careplan (6.1.0, 7.0.0) asks for assess-plan in CarePlan.category, and no rule makes it; add the coding http://hl7.org/fhir/us/core/CodeSystem/careplan-category#assess-plan`},
		{"profile fixes a code", "ServiceRequest", "profile: SDOHCC-ServiceRequest", "status: active\nintent: plan\nsubject: {display: x}\ncode: {text: x}",
			`tiny/tiny.map.yaml:8: profile SDOHCC-ServiceRequest (3.0.0) asks for order in ServiceRequest.intent, and no rule makes it`},
		{"enum never so", "Observation", "when: record.kind == 'c'", observation,
			`tiny/tiny.map.yaml:8: CEL: kind is never "c"; did you mean "a"?`},
		{"enum never in", "Observation", "when: record.kind in ['a', 'kinds']", observation,
			`tiny/tiny.map.yaml:8: CEL: kind is never "kinds"; there are a, b`},
		{"column never so", "Observation", "when: table('kind', record.kind, 'extra') == 'y'", observation,
			`tiny/tiny.map.yaml:8: CEL: column "extra" of table "kind" never holds "y"; did you mean "x"?`},
		{"never", "Observation", `when: "false && record.kind == 'a'"`, observation,
			`tiny/tiny.map.yaml:8: when is never true: what it decides on never applies; take it out`},
		{"else never", "Observation", "", observation + "valueString: {$when: \"1 == 1 || true\", then: a, else: b}",
			`tiny/tiny.map.yaml:12: $when is always true: else never applies; take it out`},
		{"CEL name", "Observation", "when: recrod.kind == 'a'", observation,
			`tiny/tiny.map.yaml:8: CEL: undeclared reference to 'recrod' (column 1); did you mean "record"?`},
		{"CEL field without record", "Observation", "when: kind == 'a'", observation,
			`tiny/tiny.map.yaml:8: CEL: undeclared reference to 'kind' (column 1); did you mean "record.kind"?`},
		{"CEL field", "Observation", "when: record.kidn == 'a'", observation,
			`tiny/tiny.map.yaml:8: CEL: the schema has no field "kidn" below ""; did you mean "kind"?`},
		{"CEL field by name", "Observation", "when: \"record['kidn'] == 'a'\"", observation,
			`tiny/tiny.map.yaml:8: CEL: the schema has no field "kidn" below ""; did you mean "kind"?`},
		{"CEL has of a field by name", "Observation", "when: \"has(record['kidn'])\"", observation,
			`tiny/tiny.map.yaml:8: CEL: the schema has no field "kidn" below ""; did you mean "kind"?`},
		{"CEL has of no field", "Observation", "when: has('kind')", observation,
			`tiny/tiny.map.yaml:8: CEL: has() asks for a field: has(record.field), or has(record['its name']) (column 5)`},
		{"CEL field between backticks", "Observation", "when: \"record.`kidn` == 'a'\"", observation,
			`tiny/tiny.map.yaml:8: CEL: the schema has no field "kidn" below ""; did you mean "kind"?`},
		{"CEL enum of a field by name", "Observation", "when: \"record['kind'] == 'c'\"", observation,
			`tiny/tiny.map.yaml:8: CEL: kind is never "c"; did you mean "a"?`},
		{"CEL table", "Observation", "when: table('knid', record.kind, 'extra') == 'x'", observation,
			`tiny/tiny.map.yaml:8: CEL: there is no table "knid"; did you mean "kind"?`},
		{"CEL column", "Observation", "when: table('kind', record.kind, 'extar') == 'x'", observation,
			`tiny/tiny.map.yaml:8: CEL: table "kind" has no column "extar"; did you mean "extra"?`},
		{"field", "Observation", "", observation + "valueString: {$copy: wrod}",
			`tiny/tiny.map.yaml:12: the schema has no field "wrod"; did you mean "word"?`},
		{"field of an item", "Observation", "", observation + "note: [{$each: list, as: x, item: {text: {$copy: x.vale}}}]",
			`tiny/tiny.map.yaml:12: the schema has no field "x.vale"; did you mean "x.value"?`},
		{"field below a list", "Observation", "", observation + "valueString: {$copy: list.value}",
			`tiny/tiny.map.yaml:12: the schema has no field "list.value"; walk the list with $each`},
		{"table", "Observation", "", "status: final\ncode: {$code: kind, via: kindd}",
			`tiny/tiny.map.yaml:11: there is no table "kindd"; did you mean "kind"?`},
		{"slot", "Observation", "", observation + "focus: [{$ref: itt}]",
			`tiny/tiny.map.yaml:12: no resource has the slot "itt"; did you mean "it"?`},
		{"key of the language", "Observation", "profil: us-core-simple-observation", observation,
			`tiny/tiny.map.yaml:8: unknown key "profil"; did you mean "profile"?`},
		{"key of a primitive", "Observation", "", observation + "valueString: {$copy: word, az: string}",
			`tiny/tiny.map.yaml:12: unknown key "az"; did you mean "as"?`},
		{"primitive", "Observation", "", observation + "valueString: {$cpy: word}",
			`tiny/tiny.map.yaml:12: there is no primitive "$cpy"; did you mean "$copy"?`},
		{"label", "Observation", "label: [{rule: r, add: [SUUD]}]", observation,
			`tiny/tiny.map.yaml:8: label "SUUD" is not one that packs may use; did you mean "SUD"?`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(strictPack(tt.resource, tt.head, tt.set), "tiny")
			got := strings.TrimPrefix(errorText(err), "mapping: pack tiny has 1 fault(s)\n")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Faults of code tables, schemas and pack.yaml.
func TestStrictFileFaults(t *testing.T) {
	tests := []struct{ name, file, old, new, want string }{
		{"row out of reach", "tiny/codes/kind.csv", "b,http", "bb,http",
			"tiny/codes/kind.csv:3: no field that table kind is used for can be \"bb\"; did you mean \"b\"?\n" +
				"tiny/tiny.map.yaml:10: field kind may be \"b\", which table kind does not have; add a row for it"},
		{"no code", "tiny/codes/kind.csv", ",final,,both", ",,,both",
			"tiny/codes/kind.csv:2: code is empty; write todo as the direction until there is one"},
		{"direction", "tiny/codes/kind.csv", "final,,both", "final,,bot",
			`tiny/codes/kind.csv:2: direction must be both, in or out; did you mean "both"?`},
		{"column", "tiny/codes/kind.csv", "display,direction", "dsplay,direction",
			`tiny/codes/kind.csv:1: column "display" is missing; did you mean "dsplay"?`},
		{"code given back twice", "tiny/codes/kind.csv", ",amended,", ",final,",
			"tiny/codes/kind.csv:3: code final is already given back as another native value in line 2; use direction in for one of the two"},
		{"field neither mapped nor ignored", "tiny/tiny.map.yaml", "  - {field: tags, reason: not in this test}\n", "",
			`tiny/pack.yaml:7: native field "tags" is neither mapped nor ignored with a reason; map it, or add to ignore: {field: "tags", reason: …}`},
		{"field to ignore", "tiny/tiny.map.yaml", "{field: at,", "{field: att,",
			"tiny/pack.yaml:7: native field \"at\" is neither mapped nor ignored with a reason; map it, or add to ignore: {field: \"at\", reason: …}\n" +
				"tiny/tiny.map.yaml:18: the schema has no field \"att\" to ignore; did you mean \"at\"?"},
		{"key of pack.yaml", "tiny/pack.yaml", "title:", "titel:",
			"tiny/pack.yaml:1: key \"title\" is missing\ntiny/pack.yaml:3: unknown key \"titel\"; did you mean \"title\"?"},
	}
	tests = append(tests, []struct{ name, file, old, new, want string }{
		{"format", "tiny/pack.yaml", "format: json", "format: jsn", `tiny/pack.yaml:5: format must be json or csv; did you mean "json"?`},
		{"rows of different length", "tiny/codes/kind.csv", ",amended,,both,", ",amended,,both", "tiny/codes/kind.csv:3: is not CSV: wrong number of fields\n" +
			"tiny/tiny.map.yaml:10: field kind may be \"b\", which table kind does not have; add a row for it"},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := strictPack("Observation", "", "status: {$code: kind, via: kind, as: code}\ncode: {text: x}")
			old := string(files[tt.file].Data)
			if !strings.Contains(old, tt.old) {
				t.Fatalf("%s lacks %q", tt.file, tt.old)
			}
			files[tt.file] = &fstest.MapFile{Data: []byte(strings.Replace(old, tt.old, tt.new, 1))}
			delete(files, "tiny/codes/wrong.csv")
			_, err := Load(files, "tiny")
			_, got, _ := strings.Cut(errorText(err), "\n")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A claim under a condition is met by a rule that may make what the profile asks for.
func TestProfileUnderACondition(t *testing.T) {
	set := "status: final\ncode: {text: x}\nsubject: {display: x}\neffectiveDateTime: {$date: when}\ncategory:\n" +
		"  - coding: [{system: http://terminology.hl7.org/CodeSystem/observation-category, code: survey}]\n" +
		"  - $when: record.kind == 'a'\n    then:\n      coding: [{system: http://hl7.org/fhir/us/core/CodeSystem/us-core-category, code: sdoh}]\n"
	head := "profile: [{url: SDOHCC-ObservationScreeningResponse, when: record.kind == 'a'}]"
	if _, err := Load(strictPack("Observation", head, set), "tiny"); err != nil {
		t.Error(err)
	}
}

func TestProfileFacts(t *testing.T) {
	facts := readFacts()
	if len(facts) < 200 {
		t.Fatalf("%d facts", len(facts))
	}
	for _, f := range facts {
		switch f.kind {
		case "profile", "required":
		case "code", "fixed":
			if len(f.codes) == 0 {
				t.Errorf("%+v has no codes", f)
			}
		default:
			t.Errorf("%+v: unknown kind", f)
		}
		if f.versions == "" {
			t.Errorf("%+v does not say where it is from", f)
		}
	}
}

func TestNearest(t *testing.T) {
	tests := []struct{ got, want string }{
		{"subjet", "subject"}, {"sbuject", "subject"}, {"SUBJECT", "subject"}, {"statuss", "status"}, {"zzz", ""}, {"", ""},
	}
	for _, tt := range tests {
		if got := nearest(tt.got, []string{"status", "subject", "stage"}); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.got, got, tt.want)
		}
	}
}

func TestFaultsAreToldOnce(t *testing.T) {
	f := &faults{}
	f.add("b", 2, "x")
	f.add("a", 3, "y")
	f.add("b", 2, "x")
	var le *LoadError
	if !errors.As(f.err("p"), &le) || len(le.Faults) != 2 || le.Faults[0].File != "a" {
		t.Errorf("got %v", le)
	}
}
