package search

import (
	"errors"
	"strings"

	"trellis/fhir"
)

// value reads one alternative of the criterion. Errors say what is wrong with the form, never the value.
func (c *Criterion) value(s, base string) (Value, error) {
	switch c.Kind {
	case KindToken:
		return c.token(s)
	case KindDate:
		return dateValue(s)
	case KindString:
		text := unescape(s)
		if c.Modifier != "exact" {
			text = Fold(text)
		}
		if text == "" {
			return Value{}, errors.New("is empty")
		}
		return Value{Text: cut(text)}, nil
	default:
		return c.reference(unescape(s), base)
	}
}

func (c *Criterion) token(s string) (Value, error) {
	parts := splitEscaped(s, '|')
	switch {
	case len(parts) == 1:
		if c.Code == "_id" && !fhir.ValidID(parts[0]) {
			return Value{}, errors.New("is not an id")
		}
		return Value{AnySystem: true, Code: unescape(parts[0])}, nil
	case len(parts) == 2 && (parts[0] != "" || parts[1] != ""):
		return Value{System: unescape(parts[0]), Code: unescape(parts[1])}, nil
	}
	return Value{}, errors.New("must be code, system|code, |code or system|")
}

func dateValue(s string) (Value, error) {
	v := Value{Prefix: "eq"}
	if len(s) > 2 && s[0] >= 'a' && s[0] <= 'z' {
		switch s[:2] {
		case "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap":
			v.Prefix, s = s[:2], s[2:]
		default:
			return Value{}, errors.New("has an unknown prefix")
		}
	}
	// A plus sign in a query string arrives as a space when the client did not escape it.
	rng, err := ParseDate(strings.Replace(s, " ", "+", 1))
	if err != nil {
		return Value{}, errors.New("is not a date or dateTime")
	}
	v.Range = rng
	return v, nil
}

func (c *Criterion) reference(s, base string) (Value, error) {
	if ref, ok := fhir.ParseReference(s, base); ok {
		if c.Modifier != "" && c.Modifier != ref.Type {
			return Value{}, errors.New("its type differs from the type modifier")
		}
		return Value{RefType: ref.Type, RefID: ref.ID}, nil
	}
	if fhir.ValidID(s) {
		typ := c.Modifier
		if typ == "" && len(c.Targets) == 1 {
			typ = c.Targets[0]
		}
		if typ == "" && c.Code == "patient" {
			typ = "Patient"
		}
		return Value{RefType: typ, RefID: s}, nil
	}
	if strings.Contains(s, ":") {
		return Value{RefType: "", RefID: cut(s)}, nil
	}
	return Value{}, errors.New("must be id, Type/id or a URL")
}

// splitEscaped splits at unescaped separators (R4 3.1.1.4.15: \, \| \$ \\).
func splitEscaped(s string, sep byte) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
