package search

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestNumberPrecision(t *testing.T) {
	for in, want := range map[string][2]float64{
		"100":      {99.5, 100.5},
		"100.00":   {99.995, 100.005},
		"1e2":      {95, 105},
		"1.00e2":   {99.5, 100.5},
		"5.40":     {5.395, 5.405},
		"5.40e-3":  {0.005395, 0.005405},
		"-7":       {-7.5, -6.5},
		"0":        {-0.5, 0.5},
		"0.000000": {-0.0000005, 0.0000005},
	} {
		low, high, err := numberSpan("eq", in)
		if err != nil || low != want[0] || high != want[1] {
			t.Errorf("%s: [%v,%v) %v, want %v", in, low, high, err, want)
		}
	}
	for _, in := range []string{"", "a", "1.", ".5", "1e", "1e999", "0x10", "1_000", "inf", "NaN", "1e2.5", "--1"} {
		if _, _, err := numberSpan("eq", in); err == nil {
			t.Errorf("%q was read as a number", in)
		}
	}
	if low, high, _ := numberSpan("ap", "-100"); low != -110 || high != -90 {
		t.Error("ap of a negative number", low, high)
	}
	if low, high, _ := numberSpan("gt", "5.40"); low != 5.4 || high != 5.4 {
		t.Error("gt has no precision", low, high)
	}
}

// TestOrdered: the integers compare as the numbers do, and a number lies in its own precision.
func TestOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64().Draw(t, "a"), rapid.Float64().Draw(t, "b")
		if math.IsNaN(a) || math.IsNaN(b) {
			return
		}
		if (a < b) != (Ordered(a) < Ordered(b)) || (a == b) != (Ordered(a) == Ordered(b)) {
			t.Fatalf("%v %v", a, b)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`-?[0-9]{1,18}(\.[0-9]{1,20})?(e-?[0-9]{1,2})?`).Draw(t, "s")
		v, _, err := parseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		low, high, err := numberSpan("eq", s)
		if err != nil || !(low <= v && v < high) {
			t.Fatalf("%s is not in [%v,%v)", s, low, high)
		}
	})
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		value    float64
		from, to string
		want     float64
	}{
		{5.4, "g/dL", "g/L", 54},
		{1, "g", "mg", 1000},
		{1, "kg", "g", 1000},
		{180, "[lb_av]", "kg", 81.6466266},
		{72, "[in_i]", "cm", 182.88},
		{6, "[ft_i]", "m", 1.8288},
		{37, "Cel", "[degF]", 98.6},
		{98.6, "[degF]", "Cel", 37},
		{300, "K", "Cel", 26.85},
		{120, "mm[Hg]", "kPa", 15.99864},
		{10, "cm[H2O]", "Pa", 980.665},
		{60, "/min", "Hz", 1},
		{72, "{beats}/min", "/min", 72},
		{1, "h", "min", 60},
		{2, "wk", "d", 14},
		{1, "a", "mo", 12},
		{5, "mmol/L", "umol/mL", 5},
		{1, "10*3/uL", "10*9/L", 1},
		{1, "10^3/uL", "10*9/L", 1},
		{4, "meq/L", "mmol/L", 4},
		{100, "[iU]/L", "m[IU]/mL", 100},
		{50, "%", "1", 0.5},
		{1, "L", "dm3", 1},
		{1, "mL/(min.m2)", "mL/min/m2", 1},
		{1, "m/s2", "m.s-2", 1},
		{1, "mL/min/{1.73_m2}", "L/h", 0.06},
		{1, "U/L", "ukat/L", 1.0 / 60},
		{1, "kcal", "J", 4184},
		{1, "mg/dL", "ug/mL", 10},
		{1, "daL", "L", 10},
	} {
		conv, ok := convertible(c.from, c.to)
		if got := tidy(conv.apply(c.value)); !ok || math.Abs(got-c.want) > 1e-9*math.Abs(c.want) {
			t.Errorf("%v %s = %v %s (%v), want %v", c.value, c.from, got, c.to, ok, c.want)
		}
	}
	for _, pair := range [][2]string{{"g", "L"}, {"mg", "mmol"}, {"[iU]", "mg"}, {"[iU]", "[CFU]"}, {"Cel", "J"}, {"mg/dL", "mmol/L"}, {"score", "1"}, {"mg", "mg{"}, {"mg", "(mg"}, {"mg", "kkg"}, {"mg", "mg//"}, {"m", "m99"}, {"", ""}, {"dmin", "s"}} {
		if _, ok := convertible(pair[0], pair[1]); ok {
			t.Errorf("%s converts to %s", pair[0], pair[1])
		}
	}
}

// TestIn: a search value meets a stored value in another unit as it does in its own.
func TestIn(t *testing.T) {
	ucum := func(code string) Unit { return Unit{UCUM, code} }
	holds := func(v Value, stored float64, u Unit) bool {
		rng, ok := v.In(u)
		if !ok {
			return false
		}
		p := point(stored)
		switch v.Prefix {
		case "gt":
			return p.Hi > rng.Hi
		case "lt":
			return p.Lo < rng.Lo
		default:
			return p.Lo >= rng.Lo && p.Hi <= rng.Hi
		}
	}
	for _, c := range []struct {
		value  string
		stored float64
		unit   Unit
		want   bool
	}{
		{"5.4|" + UCUM + "|g/dL", 54, ucum("g/L"), true},
		{"5.4|" + UCUM + "|g/dL", 54.4, ucum("g/L"), true},
		{"5.4|" + UCUM + "|g/dL", 54.5, ucum("g/L"), false},
		{"gt5.4|" + UCUM + "|g/dL", 54, ucum("g/L"), false},
		{"lt5.4|" + UCUM + "|g/dL", 54, ucum("g/L"), false},
		{"gt5.4|" + UCUM + "|g/dL", 54.0001, ucum("g/L"), true},
		{"gt98.6|" + UCUM + "|[degF]", 37, ucum("Cel"), false},
		{"gt98.6|" + UCUM + "|[degF]", 37.01, ucum("Cel"), true},
		{"5.4|" + UCUM + "|mg", 5.4, ucum("mmol"), false},
		{"5.4||mg", 5.4, ucum("mg"), true},
		{"5.4||mg", 5.4, Unit{"", "mg"}, true},
		{"5.4||mg", 5.4, ucum("g"), false},
		{"5.4|" + UCUM + "|mg", 5.4, Unit{"", "mg"}, false},
		{"5.4", 5.4, ucum("anything"), true},
		{"5.4|http://other|x", 5.4, Unit{"http://other", "x"}, true},
	} {
		v, err := quantityValue(c.value)
		if err != nil {
			t.Fatal(err)
		}
		if got := holds(v, c.stored, c.unit); got != c.want {
			t.Errorf("%s against %v %s: %v", c.value, c.stored, c.unit.Code, got)
		}
	}
}

// FuzzUnit: no text of a unit makes the parser fail otherwise than by an error, and a unit converts to itself.
func FuzzUnit(f *testing.F) {
	for _, s := range []string{"mg/dL", "10*3/uL", "{a}", "m[H2O]", "(g.m)/s2", "/min", "[in_i'Hg]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseUnit(s)
		if err != nil {
			return
		}
		if conv, ok := convertible(s, s); m.offset == 0 && (!ok || conv.scale != 1) {
			t.Fatalf("%q: %v %v", s, conv, ok)
		}
	})
}
