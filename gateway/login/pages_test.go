package login

import (
	"io/fs"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/oauth"
)

// used collects every message key that the pages and the code name, whole or by its beginning.
func used(t *testing.T) (keys, prefixes []string) {
	t.Helper()
	read := func(pattern string, source fs.FS, re *regexp.Regexp) {
		names, err := fs.Glob(source, pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(source, name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range re.FindAllStringSubmatch(string(text), -1) {
				keys = append(keys, m[1])
			}
		}
	}
	read("pages/*.html", files, regexp.MustCompile(`\bt "([^"]+)"`))
	read("*.go", os.DirFS("."), regexp.MustCompile(`"([a-z]+\.[A-Za-z.-]+)"`))
	read("*.go", os.DirFS("."), regexp.MustCompile(`Key:\s*"([a-z]+)"`))
	for _, k := range kinds() {
		keys = append(keys, "kind."+k.typ)
		if k.tells {
			keys = append(keys, "tells."+k.typ)
		}
		for _, p := range k.parts {
			keys = append(keys, "part."+p.key)
		}
	}
	for _, p := range slices.Concat(consent.TreatmentPurposes(), consent.PaymentPurposes(), consent.OperationsPurposes(), []string{"PATRQT", "FAMRQT"}) {
		keys = append(keys, "purpose."+p)
	}
	return keys, []string{"fail.", "can.", "consent.patient.", "consent.user.", "consent.own.", "capacity."}
}

// Both languages say everything, with the same things put in; nothing is said that no page says.
func TestBothLanguagesSayEverything(t *testing.T) {
	all := map[string]messages{}
	for _, lang := range languages() {
		m, err := readMessages(lang)
		if err != nil {
			t.Fatal(err)
		}
		all[lang] = m
	}
	en, es := all["en"], all["es"]
	for key, text := range en {
		other, ok := es[key]
		if !ok || other == "" || text == "" {
			t.Errorf("%s is missing in a language", key)
		}
		if strings.Count(text, "%s") != strings.Count(other, "%s") {
			t.Errorf("%s takes other values in Spanish", key)
		}
		if text == other && len(text) > 12 {
			t.Errorf("%s is not translated: %s", key, text)
		}
	}
	for key := range es {
		if _, ok := en[key]; !ok {
			t.Errorf("%s is missing in English", key)
		}
	}
	keys, prefixes := used(t)
	var titles []string
	for _, key := range keys {
		titles = append(titles, key+".title", key+".text")
	}
	for _, key := range keys {
		if _, ok := en[key]; !ok && (strings.HasPrefix(key, "kind.") || strings.HasPrefix(key, "tells.") || strings.HasPrefix(key, "part.") || strings.HasPrefix(key, "purpose.")) {
			t.Errorf("no message %s", key)
		}
	}
	for key := range en {
		if !slices.Contains(keys, key) && !slices.Contains(titles, key) && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("%s is said nowhere", key)
		}
	}
}

func TestSay(t *testing.T) {
	m := messages{"two": "a %s b %s c", "none": "x"}
	for _, c := range []struct {
		key    string
		values []any
		want   string
	}{
		{"two", []any{"%s", 2}, "a %s b 2 c"}, {"none", []any{"y"}, "x"}, {"none", nil, "x"}, {"two", []any{1}, "error"}, {"nothing", nil, "error"},
	} {
		got, err := m.say(c.key, c.values...)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s %v: %q", c.key, c.values, got)
		}
	}
	es, err := readMessages("es")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"1988-04-12": "12 de abril de 1988", "1988-04": "1988-04", "1988": "1988", "": ""} {
		if got := es.date(text); got != want {
			t.Errorf("%q is %q", text, got)
		}
	}
	if got := es.day(time.Time{}); got != es["date.never"] {
		t.Error(got)
	}
}

// The colours people read have the contrast WCAG 2.2 AA asks for: 4.5 for text, 3 for what can be operated.
func TestContrast(t *testing.T) {
	text, err := files.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	colour := map[string][3]float64{}
	for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseUint(m[2], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		colour[m[1]] = [3]float64{float64(n >> 16 & 255), float64(n >> 8 & 255), float64(n & 255)}
	}
	for _, c := range []struct {
		front, back string
		least       float64
	}{
		{"ink", "paper", 4.5}, {"ink", "ground", 4.5}, {"soft", "paper", 4.5}, {"soft", "ground", 4.5}, {"leaf", "paper", 4.5}, {"leaf-dark", "paper", 4.5},
		{"paper", "leaf", 4.5}, {"paper", "leaf-dark", 4.5}, {"paper", "slate", 4.5}, {"paper", "slate-dark", 4.5}, {"wrong", "paper", 4.5}, {"wrong", "wrong-ground", 4.5},
		{"care", "care-ground", 4.5}, {"care", "paper", 4.5}, {"ink", "care-ground", 4.5}, {"ink", "done-ground", 4.5}, {"edge", "paper", 3}, {"focus", "paper", 3}, {"focus", "ground", 3},
	} {
		if colour[c.front] == colour[c.back] || contrast(colour[c.front], colour[c.back]) < c.least {
			t.Errorf("%s on %s: %.2f", c.front, c.back, contrast(colour[c.front], colour[c.back]))
		}
	}
}

// contrast is WCAG's ratio (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
func contrast(a, b [3]float64) float64 {
	light := func(c [3]float64) float64 {
		sum := 0.0
		for i, weight := range []float64{.2126, .7152, .0722} {
			v := c[i] / 255
			if v <= .04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	x, y := light(a), light(b)
	return (math.Max(x, y) + .05) / (math.Min(x, y) + .05)
}

func TestFormTargets(t *testing.T) {
	for address, want := range map[string]string{
		"https://app.example/callback?x=1":     "https://app.example",
		"https://app.example:8443/cb":          "https://app.example:8443",
		"http://127.0.0.1:8080/cb":             "http://127.0.0.1:*",
		"http://[::1]:9/cb":                    "http:",
		"com.example.app:/cb":                  "com.example.app:",
		"":                                     "",
		"/relative":                            "",
		"https://evil.example; script-src *":   "",
		"https://a b/":                         "",
		"https://evil.example' 'unsafe-inline": "",
	} {
		if got := source(address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func TestPurposeOfAnApp(t *testing.T) {
	for _, c := range []struct{ capacity, client, want string }{
		{"self", "TREAT", "PATRQT"}, {"representative", "", "PATRQT"}, {"proxy", "COC", "FAMRQT"}, {"staff", "", "TREAT"}, {"staff", "COC", "COC"}, {"staff", "HPAYMT", "HPAYMT"}, {"staff", "HMARKT", ""}, {"staff", "HSYSADMIN", ""}, {"", "TREAT", ""},
	} {
		if got := purpose(access.Capacity(c.capacity), oauth.Client{DefaultPurpose: c.client}); got != c.want {
			t.Errorf("%v: %s", c, got)
		}
	}
}
