package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxIndexed bounds a single indexed text; longer ones are cut, as a search value is.
const maxIndexed = 256

// Fold is the form strings are matched in: no case, no accents, single spaces (R4 3.1.1.4.8).
func Fold(s string) string {
	if isFolded(s) {
		return s
	}
	if !isASCII(s) {
		s = norm.NFC.String(dropMarks(norm.NFD.String(s)))
	}
	return strings.Join(strings.Fields(strings.ToLower(s)), " ")
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isFolded reports whether folding would change nothing; most codes and many names need no copy.
func isFolded(s string) bool {
	space := true // as if a space stood before
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= utf8.RuneSelf, c >= 'A' && c <= 'Z', c < ' ', c == ' ' && space:
			return false
		default:
			space = c == ' '
		}
	}
	return s == "" || !space
}

func dropMarks(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func cut(s string) string {
	if len(s) <= maxIndexed {
		return s
	}
	return strings.ToValidUTF8(s[:maxIndexed], "")
}
