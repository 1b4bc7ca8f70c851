package mapping

import (
	"math/big"
	"strconv"
	"strings"
)

// copyNode takes a native value over as it is.
type copyNode struct {
	leaf
	from *path
	as   string // "", string, integer, decimal, boolean, code, or markup for a value inside a URI
}

func (n *copyNode) dynamic() bool { return true }

func (n *copyNode) build(r *run) bool {
	v := r.value(n.from)
	if v == nil {
		return false
	}
	text, ok := scalar(v)
	if !ok {
		return false
	}
	_, isText := v.(string)
	out, ok := appendAs(r.buf, text, n.as, isText)
	if !ok {
		r.problem(n.from, &n.leaf, "bad-value", "is not a "+asName(n.as)+" that FHIR can hold; it was left out")
		return false
	}
	r.buf = out
	r.made(&n.leaf, n.from)
	return true
}

func asName(as string) string {
	if as == "" {
		return "text"
	}
	return as
}

// appendAs writes a native scalar as the FHIR primitive named by as. Numbers keep their digits.
func appendAs(buf []byte, text, as string, isText bool) ([]byte, bool) {
	switch as {
	case "integer":
		s, ok := integer(text)
		return append(buf, s...), ok
	case "decimal":
		if _, ok := new(big.Rat).SetString(text); !ok || !isDecimal(text) {
			return buf, false
		}
		return append(buf, text...), true
	case "boolean":
		if text != "true" && text != "false" {
			return buf, false
		}
		return append(buf, text...), true
	case "code":
		if strings.ContainsAny(text, "\t\r\n") || strings.Contains(text, "  ") || !isFHIRText(text) {
			return buf, false
		}
		return appendString(buf, text), true
	case "":
		if !isText {
			return append(buf, text...), true
		}
	}
	if !isFHIRText(text) {
		return buf, false
	}
	return appendString(buf, text), true
}

// integer accepts what is a whole number in any JSON spelling (3, 3.0, 3e0) and fits FHIR's 32 bits.
func integer(text string) (string, bool) {
	if len(text) > 32 || !isDecimal(text) {
		return "", false
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		// An exponent of more than two digits is out of range anyway, and expensive to expand.
		if len(strings.TrimLeft(text[i+1:], "+-0")) > 2 {
			return "", false
		}
	}
	rat, ok := new(big.Rat).SetString(text)
	if !ok || !rat.IsInt() || !rat.Num().IsInt64() {
		return "", false
	}
	i := rat.Num().Int64()
	if i < -1<<31 || i > 1<<31-1 {
		return "", false
	}
	return strconv.FormatInt(i, 10), true
}

// isDecimal is the grammar of JSON numbers, which is FHIR's decimal, within a sane exponent.
// https://hl7.org/fhir/R4/datatypes.html#decimal
func isDecimal(s string) bool {
	s = strings.TrimPrefix(s, "-")
	mantissa, exp, hasExp := strings.Cut(strings.ToLower(s), "e")
	whole, frac, hasFrac := strings.Cut(mantissa, ".")
	if !digits(whole) || (len(whole) > 1 && whole[0] == '0') || (hasFrac && !digits(frac)) {
		return false
	}
	if !hasExp {
		return true
	}
	exp = strings.TrimLeft(exp, "+-")
	return digits(exp) && len(exp) <= 3
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// isFHIRText refuses control characters, which FHIR strings must not hold.
// https://hl7.org/fhir/R4/datatypes.html#string
func isFHIRText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f {
			return false
		}
	}
	return true
}

// dateNode is a date, dateTime or instant.
type dateNode struct {
	leaf
	from *path
	time *path // of day, where the source keeps it apart; nil when it does not
	as   string
}

func (n *dateNode) dynamic() bool { return true }

func (n *dateNode) build(r *run) bool {
	text, ok := r.scalarAt(n.from)
	if !ok {
		return false
	}
	if n.time != nil {
		if clock, ok := r.scalarAt(n.time); ok {
			text += " " + clock
		}
	}
	out, why := r.m.pack.dates.read(text, n.as)
	if why != "" {
		say := "is not a date in any form this pack declares; it was left out"
		switch why {
		case ambiguousTime:
			say = "falls into the hour of a clock change and could mean two moments or none; only the day was kept"
		case zoneMissing:
			say = "has no time zone and the pack declares none; it was left out"
		case timeMissing:
			say = "has no time of day; it was left out here"
		}
		r.problem(n.from, &n.leaf, why, say)
	}
	if out == "" {
		return false
	}
	r.buf = appendString(r.buf, out)
	if n.time == nil {
		r.made(&n.leaf, n.from)
	} else {
		r.made(&n.leaf, n.from, n.time)
	}
	return true
}

// unitNode is a Quantity in a UCUM unit.
type unitNode struct {
	leaf
	from *path
	code string
	tail []byte // ,"unit":…,"system":…,"code":…}
}

func (n *unitNode) dynamic() bool { return true }

func (n *unitNode) build(r *run) bool {
	text, ok := r.scalarAt(n.from)
	if !ok {
		return false
	}
	if !isDecimal(text) {
		r.problem(n.from, &n.leaf, "bad-value", "is not a number; it was left out")
		return false
	}
	r.buf = append(r.buf, `{"value":`...)
	r.buf = append(r.buf, text...)
	r.buf = append(r.buf, n.tail...)
	r.made(&n.leaf, n.from)
	return true
}

// joinNode puts several native texts into one, with a separator.
type joinNode struct {
	leaf
	from []*path
	by   string
}

func (n *joinNode) dynamic() bool { return true }

func (n *joinNode) build(r *run) bool {
	var parts []string
	for _, p := range n.from {
		if s, ok := r.scalarAt(p); ok && isFHIRText(s) {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return false
	}
	r.buf = appendString(r.buf, strings.Join(parts, n.by))
	r.made(&n.leaf, n.from...)
	return true
}

func splitTrim(text, by string) []string {
	var out []string
	for _, part := range strings.Split(text, by) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// deriveNode computes a value with CEL, one-way: it does not count as carrying the fields back.
type deriveNode struct {
	leaf
	expr *predicate
	as   string
}

func (n *deriveNode) dynamic() bool { return true }

func (n *deriveNode) build(r *run) bool {
	v, ok := r.compute(n.expr)
	if !ok {
		return false
	}
	text, ok := scalar(v)
	if !ok {
		return false
	}
	_, isText := v.(string)
	out, ok := appendAs(r.buf, text, n.as, isText)
	if !ok {
		return false
	}
	r.buf = out
	r.made(&n.leaf)
	return true
}

// hexDigits serve the escapes of control characters.
const hexDigits = "0123456789abcdef"

// appendString writes a JSON string. The input is valid UTF-8: the decoders see to that.
func appendString(buf []byte, s string) []byte {
	buf = append(buf, '"')
	buf = appendEscaped(buf, s)
	return append(buf, '"')
}

func appendEscaped(buf []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		buf = append(buf, s[start:i]...)
		switch c {
		case '"', '\\':
			buf = append(buf, '\\', c)
		case '\n':
			buf = append(buf, '\\', 'n')
		case '\r':
			buf = append(buf, '\\', 'r')
		case '\t':
			buf = append(buf, '\\', 't')
		default:
			buf = append(buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	return append(buf, s[start:]...)
}
