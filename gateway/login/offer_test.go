package login

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trellis/auth/smart"
)

func scopes(t testing.TB, text string) smart.Set {
	t.Helper()
	set, err := smart.Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return set
}

const (
	problemList = "category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item"
	laboratory  = "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
)

func TestGrant(t *testing.T) {
	const full = "launch/patient openid fhirUser offline_access patient/Condition.rs patient/Observation.rs patient/Patient.rs"
	for _, c := range []struct {
		name, asked string
		writes      bool
		chosen      []string // nil: everything
		want        string
	}{
		{"all of it, word by word", full, false, nil, full},
		{"nothing", full, false, []string{}, ""},
		{"only to stay connected is nothing", full, false, []string{"offline_access"}, ""},
		{"only who you are", full, false, []string{"identity"}, "launch/patient openid fhirUser"},
		{"not offline", full, false, []string{"identity", "patient.read.Patient"}, "launch/patient openid fhirUser patient/Patient.rs"},
		{"some categories", full, false, []string{"patient.read.Condition?" + problemList, "patient.read.Observation?" + laboratory, "patient.read.Patient"},
			"launch/patient patient/Condition.rs?" + problemList + " patient/Observation.rs?" + laboratory + " patient/Patient.rs"},
		{"version 1 stays version 1", "patient/*.read", false, nil, "patient/*.read"},
		{"version 1 by kind", "patient/*.read", false, []string{"patient.read.Goal"}, "patient/Goal.read"},
		{"version 1 by category", "patient/*.read", false, []string{"patient.read.Condition?" + problemList}, "patient/Condition.rs?" + problemList},
		{"all kinds", "patient/*.rs", false, []string{"patient.read.*"}, "patient/*.rs"},
		{"kinds of all kinds", "patient/*.rs", false, []string{"patient.read.Goal", "patient.read.Task"}, "patient/Goal.rs patient/Task.rs"},
		{"a kind nobody listed", "patient/*.rs patient/Basic.r", false, []string{"patient.read.Basic"}, "patient/Basic.rs patient/Basic.r"},
		{"a patient writes nothing", "patient/Goal.cruds patient/Task.cud", false, nil, "patient/Goal.rs"},
		{"a patient writes nothing, version 1", "patient/*.* patient/Task.write", false, nil, "patient/*.read"},
		{"staff may write", "user/Goal.cruds", true, nil, "user/Goal.cruds"},
		{"staff may keep from writing", "user/Goal.cruds", true, []string{"user.read.Goal"}, "user/Goal.rs"},
		{"staff may only write", "user/*.*", true, []string{"user.write.*"}, "user/*.write"},
		{"reading some, writing all", "user/*.cruds", true, []string{"user.write.*", "user.read.Goal"}, "user/*.cud user/Goal.rs"},
		{"granular as asked", "patient/Observation.rs?" + laboratory, false, nil, "patient/Observation.rs?" + laboratory},
		{"granular refused", "patient/Observation.rs?" + laboratory + " patient/Patient.r", false, []string{"patient.read.Patient"}, "patient/Patient.r"},
		{"granular, written otherwise", "patient/Observation.rs?" + strings.ReplaceAll(laboratory, "|", "%7C"), false, []string{"patient.read.Observation?" + laboratory},
			"patient/Observation.rs?" + strings.ReplaceAll(laboratory, "|", "%7C")},
		{"granular of any kind", "patient/*.rs?_tag=x patient/Goal.rs", false, []string{"patient.read.any?_tag=x"}, "patient/*.rs?_tag=x"},
		{"without the kind, its part goes too", "patient/Observation.rs patient/Observation.rs?" + laboratory + " patient/Goal.rs", false, []string{"patient.read.Goal"}, "patient/Goal.rs"},
		{"what was not offered", "patient/Goal.rs", false, []string{"patient.read.Task", "user.read.*", "patient.read.*", "patient.write.Goal"}, ""},
		{"the levels are apart", "patient/Goal.rs user/Goal.rs", false, []string{"user.read.Goal"}, "user/Goal.rs"},
	} {
		asked := scopes(t, c.asked)
		o := offered(asked, c.writes)
		picked := o.everything()
		if c.chosen != nil {
			picked = chosen{}
			for _, key := range c.chosen {
				picked[key] = true
			}
		}
		got, err := grant(asked, o, picked)
		if err != nil || got.String() != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func genAsked(t *rapid.T) smart.Set {
	word := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 5).Draw(t, "context") == 0 {
			return rapid.SampledFrom([]string{"openid", "fhirUser", "launch", "launch/patient", "offline_access", "online_access"}).Draw(t, "name")
		}
		w := rapid.SampledFrom([]string{"patient/", "user/"}).Draw(t, "level") + rapid.SampledFrom([]string{"*", "Patient", "Condition", "Observation", "Goal", "Basic"}).Draw(t, "type") + "."
		action := rapid.SampledFrom([]string{"r", "s", "rs", "cruds", "cud", "read", "write", "*"}).Draw(t, "action")
		w += action
		if action != "read" && action != "write" && action != "*" && rapid.IntRange(0, 2).Draw(t, "granular") == 0 {
			w += "?" + rapid.SampledFrom([]string{problemList, laboratory, "code=a%26b", "_tag=x&code=y"}).Draw(t, "query")
		}
		return w
	})
	set, err := smart.Parse(strings.Join(rapid.SliceOfN(word, 0, 6).Draw(t, "asked"), " "))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// keys lists all that can be chosen.
func (o offer) keys() []string {
	keys := []string{keyIdentity, keyOffline, keyOnline}
	for _, s := range o.sections {
		keys = append(keys, s.allKey())
		for _, typ := range s.types {
			keys = append(keys, typ.key)
			for _, p := range typ.parts {
				keys = append(keys, p.key)
			}
		}
	}
	return keys
}

// Whatever is chosen, what is granted lies within what was asked for; all of what may be given is granted when all is
// chosen; nothing is granted of a type that was not chosen; and who may not write never does.
func TestGrantedIsWithinAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked, writes := genAsked(t), rapid.Bool().Draw(t, "writes")
		o := offered(asked, writes)
		all, err := grant(asked, o, o.everything())
		if err != nil || !asked.ContainsAll(all) {
			t.Fatalf("all of %q is %q, %v", asked, all, err)
		}
		if writes && len(asked.Resources()) > 0 && all.String() != asked.String() {
			t.Fatalf("all of %q is %q", asked, all)
		}
		picked := chosen{}
		for _, key := range rapid.SliceOfN(rapid.SampledFrom(append(o.keys(), "patient.read.*", "user.write.*", "patient.read.Task", "")), 0, 12).Draw(t, "chosen") {
			picked[key] = true
		}
		got, err := grant(asked, o, picked)
		if err != nil {
			t.Fatalf("%v of %q: %v", picked, asked, err)
		}
		if !asked.ContainsAll(got) || !all.ContainsAll(got) {
			t.Fatalf("%v of %q grants %q", picked, asked, got)
		}
		for _, scope := range got.Resources() {
			for _, h := range []half{reading, writing} {
				if scope.Verbs&h.verbs() != 0 && !picked.reaches(scope, h) {
					t.Fatalf("%v of %q grants %q", picked, asked, scope)
				}
				if h == writing && !writes && scope.Verbs&h.verbs() != 0 {
					t.Fatalf("%q lets write", scope)
				}
			}
		}
		if (got.Context("openid") && !picked[keyIdentity]) || (got.Context(keyOffline) && !picked[keyOffline]) {
			t.Fatalf("%v of %q grants %q", picked, asked, got)
		}
	})
}

// reaches reports whether a choice stands behind a granted scope.
func (c chosen) reaches(scope smart.Scope, h half) bool {
	s := section{level: scope.Level, half: h}
	typ := scope.Type
	if typ == "*" {
		typ = "any"
	}
	_, decoded := constraint(scope)
	return c[s.allKey()] || c[s.key()+"."+typ] || (decoded != "" && c[s.key()+"."+typ+"?"+decoded])
}

func TestKindsAreListedOnce(t *testing.T) {
	var seen []string
	for _, k := range kinds() {
		if slices.Contains(seen, k.typ) {
			t.Errorf("%s is listed twice", k.typ)
		}
		seen = append(seen, k.typ)
		for _, p := range k.parts {
			if set := scopes(t, "patient/"+k.typ+".rs?"+p.query); len(set.Resources()) != 1 {
				t.Errorf("%s is no scope", p.query)
			}
		}
	}
}
