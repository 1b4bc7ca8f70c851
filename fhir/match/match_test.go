package match

import (
	"slices"
	"strings"
	"testing"

	"trellis/fhir"
)

func person(t *testing.T, elements string) Person {
	t.Helper()
	n, err := fhir.ParseJSON([]byte(`{"resourceType":"Patient",` + elements + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return Read(n)
}

const (
	name     = `"name":[{"family":"García-López","given":["María","José"]}]`
	birth    = `"birthDate":"1990-02-03"`
	phone    = `"telecom":[{"system":"phone","value":"+1 (555) 123-4567"}]`
	home     = `"address":[{"line":["12 Oak Street"],"city":"Albany","postalCode":"12207-1234"}]`
	mrn      = `"identifier":[{"system":"urn:mrn","value":"AB-12"}]`
	licences = `"identifier":[{"type":{"coding":[{"code":"DL"}]},"system":"urn:dl:ny","value":"1"},{"type":{"coding":[{"code":"PPN"}]},"system":"urn:p","value":"1"},{"type":{"coding":[{"code":"STID"}]},"system":"urn:s","value":"1"}]`
	licence  = `"identifier":[{"type":{"coding":[{"code":"DL"}]},"system":"urn:dl:ny","value":"D 123"}]`
)

func TestCompare(t *testing.T) {
	whole := strings.Join([]string{name, birth, phone, home, mrn}, ",")
	agencies := Agencies{Addresses: map[string]bool{"99 mission st|12207": true}, Phones: map[string]bool{"5550000000": true}}
	for title, c := range map[string]struct {
		asked, have string
		want        Grade
		points      int
	}{
		"the same":                      {whole, whole, Certain, 10},
		"an identifier alone":           {mrn, whole, Certain, 4},
		"an identifier, other spelling": {`"identifier":[{"system":"urn:mrn","value":"ab12"}],` + name, whole, Certain, 7},
		"another system":                {`"identifier":[{"system":"urn:other","value":"AB-12"}],` + name, whole, None, 3},
		"a licence":                     {licence + `,` + name, licence + `,` + name, Certain, 8},
		"three licences weigh ten":      {licences, licences, Certain, 10},
		"name, birth, two contacts":     {strings.Join([]string{name, birth, phone, home}, ","), whole, Probable, 10},
		"name, birth, one contact":      {strings.Join([]string{name, birth, phone}, ","), whole, Possible, 9},
		"name and birth":                {name + `,` + birth, whole, Possible, 5},
		"name alone":                    {name, whole, None, 3},
		"address and telephone alone":   {phone + `,` + home, whole, None, 5},
		"without accents and hyphen":    {`"name":[{"family":"GARCIA LOPEZ","given":["maria"]}],` + birth, whole, Possible, 5},
		"joined":                        {`"name":[{"family":"GarciaLopez","given":["Maria"]}],` + birth, whole, Possible, 5},
		"half of a double name":         {`"name":[{"family":"Lopez","given":["Maria"]}],` + birth + `,` + phone + `,` + home, whole, Possible, 9},
		"an initial":                    {`"name":[{"family":"García-López","given":["M."]}],` + birth, whole, None, 4},
		"the second given name":         {`"name":[{"family":"García-López","given":["José"]}],` + birth + `,` + phone, whole, Possible, 8},
		"names in each other's place":   {`"name":[{"family":"María José","given":["García-López"]}],` + birth + `,` + phone, whole, Possible, 8},
		"married":                       {`"name":[{"family":"Smith","given":["María"]}],` + birth + `,` + phone, whole, Possible, 6},
		"day and month transposed":      {name + `,"birthDate":"1990-03-02",` + phone + `,` + home, whole, Possible, 9},
		"year of birth":                 {name + `,"birthDate":"1990",` + phone, whole, Possible, 8},
		"another birth":                 {name + `,"birthDate":"1991-02-03",` + phone + `,` + home + `,` + mrn, whole, Possible, 8},
		"a twin":                        {`"name":[{"family":"García-López","given":["Ana"]}],` + birth + `,` + phone + `,` + home, whole, Possible, 7},
		"a twin under one number":       {`"name":[{"family":"García-López","given":["Ana"]}],` + birth + `,` + mrn, whole, Possible, 6},
		"a sibling at home":             {`"name":[{"family":"García-López","given":["Ana"]}],"birthDate":"1993-05-05",` + phone + `,` + home, whole, None, 5},
		"at the same agency":            {name + `,"address":[{"line":["99 Mission St"],"postalCode":"12207"}],"telecom":[{"system":"phone","value":"555-000-0000"}]`, `"name":[{"family":"García-López","given":["María"]}],"address":[{"line":["99 Mission Street"],"postalCode":"12207"}],"telecom":[{"system":"phone","value":"5550000000"}]`, None, 3},
		"at the same shelter":           {birth + `,"address":[{"line":["7 Elm Rd","Night Shelter"],"postalCode":"12207"}]`, birth + `,"address":[{"line":["7 Elm Road"],"postalCode":"12207"}]`, None, 2},
		"at a temporary address":        {birth + `,"address":[{"use":"temp","line":["7 Elm Rd"],"postalCode":"12207"}]`, birth + `,"address":[{"use":"temp","line":["7 Elm Rd"],"postalCode":"12207"}]`, None, 2},
		"nothing in common":             {`"name":[{"family":"Doe","given":["Jo"]}],"birthDate":"1950-01-01"`, whole, None, 0},
	} {
		a, b := person(t, c.asked), person(t, c.have)
		got := Compare(a, b, agencies)
		if got.Grade != c.want || got.Points != c.points {
			t.Errorf("%s: %s with %d points, want %s with %d", title, got.Grade, got.Points, c.want, c.points)
		}
		if back := Compare(b, a, agencies); back.Points != got.Points {
			t.Errorf("%s: %d points one way and %d the other", title, got.Points, back.Points)
		}
	}
}

func TestEnough(t *testing.T) {
	for elements, want := range map[string]bool{mrn: true, name: false, name + `,` + birth: true, name + `,` + phone: true, phone + `,` + home + `,` + birth: false, `"name":[{"family":"Doe"}],` + birth: false,
		`"identifier":[{"value":"AB-12"}]`: false, `"gender":"male"`: false, `"name":[{"text":"Jo Doe"}],` + birth: false} {
		if got := person(t, elements).Enough(); got != want {
			t.Errorf("%s: %v", elements, got)
		}
	}
}

func TestScore(t *testing.T) {
	results := []Result{{3, None}, {5, Possible}, {9, Possible}, {10, Probable}, {15, Probable}, {4, Certain}, {20, Certain}}
	var scores []float64
	for _, r := range results {
		scores = append(scores, r.Score())
	}
	if !slices.IsSorted(scores) || scores[0] != 0 || scores[len(scores)-1] > 1 {
		t.Errorf("%v", scores)
	}
}

func TestTransposed(t *testing.T) {
	for date, want := range map[string]string{"1990-02-03": "1990-03-02", "1990-02-13": "", "1990-03-03": "", "1990-02": "", "": ""} {
		if got := Transposed(date); got != want {
			t.Errorf("%s: %s", date, got)
		}
	}
}

// FuzzCompare: any two persons can be compared, a score is a share, and who is first does not matter.
func FuzzCompare(f *testing.F) {
	f.Add(`{"name":[{"family":"García-López","given":["M."]}],"birthDate":"1990-02-03"}`, `{"identifier":[{"system":"s","value":"--"}],"telecom":[{"system":"phone","value":"1"}],"address":[{"line":["c/o"],"postalCode":"1"}]}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		x, errX := fhir.ParseJSON([]byte(a))
		y, errY := fhir.ParseJSON([]byte(b))
		if errX != nil || errY != nil {
			return
		}
		p, q := Read(x), Read(y)
		there, back := Compare(p, q, Agencies{}), Compare(q, p, Agencies{})
		if there.Points != back.Points || there.Score() < 0 || there.Score() > 1 {
			t.Errorf("%+v and %+v", there, back)
		}
	})
}
