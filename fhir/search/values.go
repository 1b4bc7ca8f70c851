package search

import (
	"errors"
	"strings"

	"trellis/fhir"
)

// alternatives splits a value at its commas (R4 3.1.1.4.15).
func (p *parser) alternatives(a ask) ([]string, error) {
	out := splitEscaped(a.value, ',')
	if p.values += len(out); len(out) > maxValues || p.values > maxTotal {
		return nil, tooMany(a.name, "too many values")
	}
	return out, nil
}

// read reads alternatives of one kind. Errors say what is wrong with the form, never the value.
func (p *parser) read(a ask, kind Kind, mode Mode, alternatives []string) ([]Value, error) {
	out := make([]Value, 0, len(alternatives))
	for _, alt := range alternatives {
		v, err := p.value(kind, mode, alt)
		if err != nil {
			return nil, invalid(a.name, err.Error())
		}
		out = append(out, v)
	}
	return out, nil
}

var errEmpty = errors.New("is empty")

func (p *parser) value(kind Kind, mode Mode, s string) (Value, error) {
	switch kind {
	case KindToken:
		return tokenValue(s)
	case KindDate:
		return p.date(s)
	case KindNumber:
		prefix, rest := prefixed(s)
		return numberValue(prefix, unescape(rest))
	case KindQuantity:
		return quantityValue(s)
	case KindURI:
		text := unescape(s)
		if mode == Below {
			text = strings.TrimRight(text, "/")
		}
		if text == "" {
			return Value{}, errEmpty
		}
		return Value{Text: cut(text)}, nil
	default:
		text := unescape(s)
		if mode != Exact {
			text = Fold(text)
		}
		if text == "" {
			return Value{}, errEmpty
		}
		return Value{Text: cut(text)}, nil
	}
}

// tokenValue reads code, system|code, |code or system| (R4 3.1.1.4.10).
func tokenValue(s string) (Value, error) {
	parts := splitEscaped(s, '|')
	switch {
	case len(parts) == 1 && s != "":
		return Value{AnySystem: true, Code: cut(unescape(parts[0]))}, nil
	case len(parts) == 2 && (parts[0] != "" || parts[1] != ""):
		return Value{System: cut(unescape(parts[0])), Code: cut(unescape(parts[1]))}, nil
	}
	return Value{}, errors.New("must be code, system|code, |code or system|")
}

// prefixed takes a comparison prefix off an ordered value; "eq" when there is none.
func prefixed(s string) (prefix, rest string) {
	if len(s) > 2 {
		switch s[:2] {
		case "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap":
			return s[:2], s[2:]
		}
	}
	return "eq", s
}

// date reads a date with its prefix (R4 3.1.1.4.7). ap takes a tenth of the time between now and the
// date on both sides, as R4 proposes.
func (p *parser) date(s string) (Value, error) {
	prefix, rest := prefixed(s)
	if len(rest) > 2 && rest[0] >= 'a' && rest[0] <= 'z' {
		return Value{}, errors.New("has an unknown prefix")
	}
	// A plus sign in a query string arrives as a space when the client did not escape it.
	rng, err := ParseDate(strings.Replace(unescape(rest), " ", "+", 1))
	if err != nil {
		return Value{}, errors.New("is not a date or dateTime")
	}
	if prefix == "ap" {
		now := p.now.UnixMicro()
		gap := max(now-rng.Hi, rng.Lo-now, 0) / 10
		rng = Range{rng.Lo - gap, rng.Hi + gap}
	}
	return Value{Prefix: prefix, Range: rng}, nil
}

func numberValue(prefix, s string) (Value, error) {
	low, high, err := numberSpan(prefix, s)
	if err != nil {
		return Value{}, err
	}
	return Value{Prefix: prefix, Low: low, High: high}, nil
}

// quantityValue reads number, number|system|code or number||unit (R4 3.1.1.4.12).
func quantityValue(s string) (Value, error) {
	prefix, rest := prefixed(s)
	parts := splitEscaped(rest, '|')
	if len(parts) != 1 && len(parts) != 3 {
		return Value{}, errors.New("must be number, number|system|code or number||unit")
	}
	v, err := numberValue(prefix, unescape(parts[0]))
	if err != nil || len(parts) == 1 {
		return v, err
	}
	v.Unit = Unit{cut(unescape(parts[1])), cut(unescape(parts[2]))}
	if v.Unit.Code == "" && v.Unit.System != "" {
		return Value{}, errors.New("names a system of units without a unit")
	}
	return v, nil
}

// reference reads id, Type/id, an absolute URL or a canonical (R4 3.1.1.4.13), :Type and :identifier.
func (p *parser) reference(a ask, par *Parameter, modifier string, alternatives []string) (Condition, error) {
	switch modifier {
	case "identifier":
		values, err := p.read(a, KindToken, Exact, alternatives)
		if err != nil {
			return nil, err
		}
		return Index{Kind: KindToken, Params: suffixed(par.Reads, ":identifier"), Values: values}, nil
	case "text":
		return p.textScan(a, par, alternatives)
	case "":
	default:
		if !fhir.KnownType(modifier) {
			return nil, bad(a.name, "this modifier is not offered")
		}
		if par.Target != "" && par.Target != modifier || len(par.Targets) > 0 && !contains(par.Targets, modifier) {
			return nil, bad(a.name, "the reference never leads to the type named")
		}
	}
	refs := Index{Kind: KindReference, Params: par.Reads, Target: par.Target}
	uris := Index{Kind: KindURI, Params: par.Reads}
	for _, alt := range alternatives {
		v, ok := p.literal(par, modifier, unescape(alt))
		switch {
		case ok && modifier != "" && v.RefType != modifier:
			return nil, invalid(a.name, "its type differs from the type modifier")
		case ok:
			refs.Values = append(refs.Values, v)
		case strings.Contains(alt, ":"):
			uris.Values = append(uris.Values, Value{Text: cut(unescape(alt))})
		default:
			return nil, invalid(a.name, "must be id, Type/id or a URL")
		}
	}
	switch {
	case len(uris.Values) == 0:
		return refs, nil
	case len(refs.Values) == 0:
		return uris, nil
	}
	return Or{refs, uris}, nil
}

// literal reads a reference to a resource of this server.
func (p *parser) literal(par *Parameter, modifier, s string) (Value, bool) {
	if ref, ok := fhir.ParseReference(s, p.o.Base); ok {
		return Value{RefType: ref.Type, RefID: ref.ID}, true
	}
	if !fhir.ValidID(s) {
		return Value{}, false
	}
	typ := modifier
	switch {
	case typ != "":
	case par.Target != "":
		typ = par.Target
	case len(par.Targets) == 1:
		typ = par.Targets[0]
	case par.Code == "patient":
		typ = "Patient"
	}
	return Value{RefType: typ, RefID: s}, true
}

// above matches a URI by itself or any of its ancestors (R4 3.1.1.4.11).
func (p *parser) above(a ask, par *Parameter, alternatives []string) (Condition, error) {
	out := Index{Kind: KindURI, Params: par.Reads}
	for _, alt := range alternatives {
		text := strings.TrimRight(unescape(alt), "/")
		if text == "" {
			return nil, invalid(a.name, errEmpty.Error())
		}
		root := 0 // ancestors end at the host
		if i := strings.Index(text, "://"); i >= 0 {
			root = i + len("://")
		}
		for {
			out.Values = append(out.Values, Value{Text: cut(text)})
			i := strings.LastIndexByte(text, '/')
			if i <= root || len(out.Values) > maxValues {
				break
			}
			text = text[:i]
		}
	}
	if len(out.Values) > maxValues {
		return nil, tooMany(a.name, "too many values")
	}
	return out, nil
}
