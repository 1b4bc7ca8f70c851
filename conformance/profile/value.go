package profile

import (
	"cmp"
	"strconv"
	"time"

	"trellis/fhir"
)

// equal compares values as fixed[x] does: all that is there, and nothing else.
func equal(a, b fhir.Node) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case '{':
		if len(a.Members) != len(b.Members) {
			return false
		}
		for _, m := range b.Members {
			if !equal(a.Get(m.Name), m.Value) {
				return false
			}
		}
		return true
	case '[':
		if len(a.Items) != len(b.Items) {
			return false
		}
		for i := range b.Items {
			if !equal(a.Items[i], b.Items[i]) {
				return false
			}
		}
		return true
	}
	return a.Text() == b.Text()
}

// matches compares a value as pattern[x] does: what the pattern has must be there, each item of a list somewhere in the
// value's list.
func matches(value, pattern fhir.Node) bool {
	switch {
	case value.Kind != pattern.Kind:
		return false
	case pattern.Kind == '{':
		for _, m := range pattern.Members {
			if !matches(value.Get(m.Name), m.Value) {
				return false
			}
		}
		return true
	case pattern.Kind == '[':
		for _, wanted := range pattern.Items {
			found := false
			for _, item := range value.Items {
				found = found || matches(item, wanted)
			}
			if !found {
				return false
			}
		}
		return true
	}
	return value.Text() == pattern.Text()
}

// order compares a value with a limit: numbers, quantities of one unit, and dates and times as far as both say.
func order(value, limit fhir.Node) (int, bool) {
	switch {
	case value.Kind == '{' && limit.Kind == '{':
		for _, name := range []string{"system", "code"} {
			if value.Get(name).Text() != limit.Get(name).Text() {
				return 0, false
			}
		}
		return order(value.Get("value"), limit.Get("value"))
	case value.Kind == '0' && limit.Kind == '0':
		a, errA := strconv.ParseFloat(value.Text(), 64)
		b, errB := strconv.ParseFloat(limit.Text(), 64)
		return cmp.Compare(a, b), errA == nil && errB == nil
	case value.Kind == '"' && limit.Kind == '"':
		a, b := value.Text(), limit.Text()
		if len(a) > 10 && len(b) > 10 {
			x, errX := time.Parse(time.RFC3339Nano, a)
			y, errY := time.Parse(time.RFC3339Nano, b)
			return x.Compare(y), errX == nil && errY == nil
		}
		n := min(len(a), len(b))
		if n < 4 {
			return 0, false
		}
		if c := cmp.Compare(a[:n], b[:n]); c != 0 {
			return c, true
		}
		return 0, len(a) == len(b) || a == b
	}
	return 0, false
}
