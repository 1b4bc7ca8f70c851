package smart_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trellis/auth/smart"
)

func parse(t testing.TB, text string) smart.Set {
	t.Helper()
	set, err := smart.Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return set
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"patient", "patient/", "patient/Observation", "patient/Observation.", "patient/observation.rs",
		"patient/Observation.sr", "patient/Observation.rr", "patient/Observation.reads", "patient/Observation.dr",
		"patient/Observation.x", "patient/Observation.rs?", "patient/Observation.rs?category", "practitioner/Patient.rs",
		"patient/Observation.rs?category=", "patient/Observation.rs?=x", "patient/Observation.rs?a:in=x",
		"patient/Observation.rs?a.b=x", "patient/Observation.rs?a=%zz", "patient/Observation.read?category=x",
		"patient/Observation.rs\tsystem/*.rs", "patient/Obs\u00e9.rs", "launch/", "launch/Patient", "email", "*/*.rs",
		`patient/Observation.rs?a="x"`, "system/**.rs", "system/*.rs*", "SYSTEM/Patient.rs",
		strings.Repeat("a", 20000), "patient/Observation.rs?" + strings.Repeat("a=b&", 20) + "a=b",
	} {
		if set, err := smart.Parse(text); !errors.Is(err, smart.ErrScope) {
			t.Errorf("Parse(%.60q) = %v, %v; want ErrScope", text, set, err)
		}
	}
}

func TestParseKeepsWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"system/*.read":                 "system/*.read",
		" a-b ":                         "error",
		"patient/*.rs openid":           "patient/*.rs openid",
		"user/Patient.* user/Patient.*": "user/Patient.*",
		"launch/patient  launch/encounter offline_access fhirUser": "launch/patient launch/encounter offline_access fhirUser",
	} {
		set, err := smart.Parse(text)
		if want == "error" {
			if err == nil {
				t.Errorf("Parse(%q) accepted", text)
			}
			continue
		}
		if err != nil || set.String() != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", text, set, err, want)
		}
	}
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		scopes, level, typ string
		need               smart.Verb
		want               bool
	}{
		{"system/*.read", "system", "Patient", smart.Read | smart.Search, true},
		{"system/*.read", "system", "Patient", smart.Delete, false},
		{"system/*.write", "system", "Patient", smart.Create | smart.Update | smart.Delete, true},
		{"system/*.write", "system", "Patient", smart.Read, false},
		{"system/*.*", "system", "*", smart.Create | smart.Read | smart.Update | smart.Delete | smart.Search, true},
		{"system/Patient.r system/Patient.s", "system", "Patient", smart.Read | smart.Search, true},
		{"system/Patient.rs", "system", "*", smart.Read, false},
		{"system/Patient.rs", "user", "Patient", smart.Read, false},
		{"system/Patient.rs", "system", "Patient", 0, false},
		{"system/Patient.rs", "system", "", smart.Read, false},
		{"system/Observation.rs?category=laboratory", "system", "Observation", smart.Read, false},
		{"system/Observation.rs?category=laboratory system/Observation.r", "system", "Observation", smart.Read, true},
		{"openid launch/patient", "patient", "Patient", smart.Read, false},
		{"", "", "", 0, false},
	} {
		if got := parse(t, c.scopes).Allows(c.level, c.typ, c.need); got != c.want {
			t.Errorf("%q allows %s/%s %b = %v", c.scopes, c.level, c.typ, c.need, got)
		}
	}
}

func TestGranularIsKeptAndNeverWidens(t *testing.T) {
	set := parse(t, "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category%7Claboratory&status=final")
	list := set.Granular("patient", "Observation", smart.Read)
	if len(list) != 1 || len(list[0].Constraints) != 2 {
		t.Fatalf("constraints lost: %+v", list)
	}
	if got := list[0].Constraints[0].Value; got != "http://terminology.hl7.org/CodeSystem/observation-category|laboratory" {
		t.Errorf("value %q", got)
	}
	if set.Granular("patient", "Observation", smart.Delete) != nil || set.Granular("patient", "Patient", smart.Read) != nil {
		t.Error("a granular scope was offered for what it does not cover")
	}
}

func TestContains(t *testing.T) {
	for _, c := range []struct {
		outer, inner string
		want         bool
	}{
		{"system/*.read", "system/Observation.read", true},
		{"system/*.rs", "system/Observation.read", true},
		{"system/Observation.read", "system/Observation.*", false},
		{"system/Observation.read", "system/*.read", false},
		{"system/Observation.rs", "system/Observation.rs?category=a", true},
		{"system/Observation.rs?category=a", "system/Observation.rs", false},
		{"system/Observation.rs?category=a", "system/Observation.rs?category=a&code=b", true},
		{"system/Observation.rs?category=a&code=b", "system/Observation.rs?category=a", false},
		{"system/Observation.rs?category=a", "system/Observation.rs?category=b", false},
		{"system/Observation.rs?category=a system/Observation.rs?category=b", "system/Observation.rs", false},
		{"system/Patient.r system/Patient.s", "system/Patient.rs", true},
		{"system/*.cruds", "patient/Patient.r", false},
		{"system/*.cruds", "user/Patient.r", false},
		{"system/*.cruds", "openid", false},
		{"openid system/*.cruds", "openid", true},
		{"", "", true},
		{"", "system/Patient.r", false},
	} {
		if got := parse(t, c.outer).ContainsAll(parse(t, c.inner)); got != c.want {
			t.Errorf("%q contains %q = %v", c.outer, c.inner, got)
		}
	}
}

// genSet draws sets over a small universe, so that containment is common enough to mean something.
func genSet(t *rapid.T, label string) smart.Set {
	word := rapid.Custom(func(t *rapid.T) string {
		w := rapid.SampledFrom([]string{"system/", "user/"}).Draw(t, "level") +
			rapid.SampledFrom([]string{"*", "Patient", "Observation"}).Draw(t, "type") + "." +
			rapid.SampledFrom([]string{"r", "s", "rs", "read", "write", "*", "cruds", "cud", "u"}).Draw(t, "verbs")
		if rapid.Bool().Draw(t, "granular") && !strings.HasSuffix(w, "read") && !strings.HasSuffix(w, "write") && !strings.HasSuffix(w, ".*") {
			w += rapid.SampledFrom([]string{"?a=1", "?b=2", "?a=1&b=2", "?b=2&a=1", "?a=2"}).Draw(t, "constraint")
		}
		return w
	})
	words := rapid.SliceOfN(word, 0, 4).Draw(t, label)
	set, err := smart.Parse(strings.Join(words, " "))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSubsetIsAPreorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genSet(t, "a"), genSet(t, "b"), genSet(t, "c")
		if !a.ContainsAll(a) {
			t.Fatalf("%q does not contain itself", a)
		}
		if a.ContainsAll(b) && b.ContainsAll(c) && !a.ContainsAll(c) {
			t.Fatalf("%q > %q > %q is not transitive", a, b, c)
		}
	})
}

// What a contained set allows, the containing set allows: a grant inside a registration can never do more than it.
func TestGrantedIsWithinRegistered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		registered, asked := genSet(t, "registered"), genSet(t, "asked")
		if !registered.ContainsAll(asked) {
			return
		}
		for _, level := range []string{"system", "user", "patient"} {
			for _, typ := range []string{"Patient", "Observation", "Device", "*"} {
				for verb := smart.Create; verb <= smart.Search; verb <<= 1 {
					if asked.Allows(level, typ, verb) && !registered.Allows(level, typ, verb) {
						t.Fatalf("%q within %q widens %s/%s", asked, registered, level, typ)
					}
					if len(asked.Granular(level, typ, verb)) > 0 && !registered.Allows(level, typ, verb) &&
						len(registered.Granular(level, typ, verb)) == 0 {
						t.Fatalf("granular %q within %q widens", asked, registered)
					}
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"system/*.read", "patient/Observation.rs?category=a%7Cb&x=y openid launch/patient", "x", "user/Patient.cruds"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := smart.Parse(text)
		if err != nil {
			if set.Allows("system", "Patient", smart.Read) || !set.Empty() {
				t.Fatal("a refused string still allows something")
			}
			return
		}
		again, err := smart.Parse(set.String())
		if err != nil || again.String() != set.String() || !again.ContainsAll(set) || !set.ContainsAll(again) {
			t.Fatalf("%q does not survive its own text: %v", text, err)
		}
	})
}
