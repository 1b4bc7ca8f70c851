package fhir

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestBundleParts: a Bundle checked in parts is refused for what it is refused for as a whole, with the same paths, and
// taken when it is taken as a whole. Parts may tell more: what is missing is looked for only where nothing else is wrong.
func TestBundleParts(t *testing.T) {
	p, err := NewParser()
	if err != nil {
		t.Fatal(err)
	}
	entries := []string{
		`{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","gender":"male"},"request":{"method":"POST","url":"Patient"}}`,
		`{"resource":{"resourceType":"Observation","status":"final","code":{"text":"[{\"}]"},"contained":[{"resourceType":"Patient"}]}}`,
		`{"request":{"method":"DELETE","url":"Patient/1"}}`,
		`{}`,
		`{"resource":{"resourceType":"Bundle","type":"batch","entry":[{},{"resource":{"resourceType":"Patient"}}]}}`,
	}
	faults := []string{
		`{"resource":{"resourceType":"Patient","zz":1}}`,
		`{"resource":{"resourceType":"Observation","code":{"text":"x"}}}`,
		`{"resource":{"resourceType":"Patient","birthDate":"x","gender":"y"}}`,
		`{"resource":{"resourceType":"Zz"}}`,
		`{"resource":{"id":"x"}}`,
		`{"resource":5}`, `5`, `[]`,
		`{"request":{"method":"ZZ","url":"x"}}`,
		`{"zz":1}`,
		`{"resource":{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","zz":1}}]}}`,
	}
	texts := func(parts [][]byte) (out []string) {
		for _, part := range parts {
			if _, err := p.unmarshal.Unmarshal(part); err != nil {
				out = append(out, strings.Split(err.Error(), "\n")...)
			}
		}
		slices.Sort(out)
		return out
	}
	refused := 0
	for i := range 200 {
		var list []string
		for j := range 1 + i%13 {
			list = append(list, entries[(i+j)%len(entries)])
			if (i+j)%7 == 0 {
				list = append(list, faults[(i+j)%len(faults)])
			}
		}
		rest := []string{`"type":"transaction",`, `"type":"zz",`, `"zz":1,`, `"type":"searchset","total":3,`}[i%4]
		for _, doc := range []string{
			fmt.Sprintf(`{"resourceType":"Bundle",%s"entry":[%s]}`, rest, strings.Join(list, ",")),
			fmt.Sprintf(`{"entry":[%s],%s"resourceType":"Bundle"}`, strings.Join(list, ","), rest),
		} {
			r, err := ReadTrusted([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			whole := texts([][]byte{r.JSON})
			if len(whole) > 0 {
				refused++
			}
			for n := 2; n < 6; n++ {
				parts := bundleParts(r, n)
				got := texts(parts)
				more := slices.DeleteFunc(slices.Clone(got), func(text string) bool { return slices.Contains(whole, text) })
				lost := slices.ContainsFunc(whole, func(text string) bool { return !slices.Contains(got, text) })
				untrue := slices.ContainsFunc(more, func(text string) bool { return !strings.Contains(text, "missing required field") })
				if len(parts) > n || lost || untrue || len(whole) == 0 && len(more) > 0 {
					t.Errorf("%s\nin %d parts %q\nwhole %q", doc, len(parts), got, whole)
				}
			}
		}
	}
	if refused == 0 || refused == 400 {
		t.Errorf("%d of 400 Bundles were refused", refused)
	}
}

// TestLargeBundle: what is wrong with entries far apart in a large Bundle is told in order, and nothing else is.
func TestLargeBundle(t *testing.T) {
	p, err := NewParser()
	if err != nil {
		t.Fatal(err)
	}
	entry := `{"resource":{"resourceType":"Patient","name":[{"text":"` + strings.Repeat("x", 1000) + `"}]}}`
	bundle := func(bad ...int) []byte {
		list := slices.Repeat([]string{entry}, 300)
		for _, i := range bad {
			list[i] = `{"resource":{"resourceType":"Patient","birthDate":"never"}}`
		}
		return []byte(`{"resourceType":"Bundle","type":"collection","entry":[` + strings.Join(list, ",") + `]}`)
	}
	r, err := p.Parse(bundle())
	if err != nil {
		t.Fatal(err)
	}
	if parts := bundleParts(r, 3); len(parts) != 3 || max(len(parts[0]), len(parts[1]), len(parts[2])) > len(r.JSON)/3+3000 {
		t.Errorf("%d parts", len(parts))
	}
	_, err = p.Parse(bundle(3, 170, 299))
	problem, ok := err.(*Problem)
	if !ok || len(problem.Issues) != 3 {
		t.Fatal(err)
	}
	for i, at := range []int{3, 170, 299} {
		if want := fmt.Sprintf("Bundle.entry[%d].resource.Patient.birthDate", at); problem.Issues[i].Expression != want {
			t.Errorf("%+v, want %s", problem.Issues[i], want)
		}
	}
}
