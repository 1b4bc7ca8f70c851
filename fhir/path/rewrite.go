package path

import (
	"strings"

	"trellis/fhir"
)

// rewritten replaces calls that the library does not make as it should: trace, which gives back what it is given, but writes
// it, patients' values, to standard error; and repeat, which goes no step in the library, and is written out as far as a
// resource goes. ok is false where that cannot be done.
func rewritten(text string) (out string, repeats, ok bool) {
	for {
		start, argument, end := call(text, "trace")
		if start < 0 {
			break
		}
		if start == 0 || text[start-1] != '.' || argument < 0 {
			return "", false, false
		}
		text = text[:start-1] + text[end:]
	}
	for begin := 0; ; {
		start, argument, end := call(text[begin:], "repeat")
		if start < 0 {
			return text, repeats, true
		}
		if argument < 0 || repeats {
			return "", false, false
		}
		start, argument, end = start+begin, argument+begin, end+begin
		step := text[argument : end-1]
		if len(step) > 60 || strings.Trim(step, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ| ") != "" {
			return "", false, false // only names of elements, and once: each is written out many times
		}
		levels := make([]string, maxRepeats)
		for i := range levels {
			levels[i] = strings.TrimPrefix(strings.Repeat(".select("+step+")", i+1), ".")
		}
		whole := "(" + strings.Join(levels, "|") + ")"
		if start > 0 && text[start-1] == '.' {
			whole = "select" + whole
		}
		text, begin, repeats = text[:start]+whole+text[end:], start+len(whole), true
	}
}

// call finds the first call of a function outside texts: where its name begins, its arguments begin and what follows it
// begins. start is -1 when there is none, argument when it is not closed.
func call(text, name string) (start, argument, end int) {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c == '\'' || c == '`' || c == '"' {
			i = closing(text, i)
			continue
		}
		rest, found := strings.CutPrefix(text[i:], name)
		if !found || i > 0 && !notOfName(rune(text[i-1])) || !strings.HasPrefix(rest, "(") {
			continue
		}
		open := 0
		for j := i + len(name); j < len(text); j++ {
			switch c := text[j]; c {
			case '\'', '`', '"':
				j = closing(text, j)
			case '(':
				open++
			case ')':
				if open--; open == 0 {
					return i, i + len(name) + 1, j + 1
				}
			}
		}
		return i, -1, len(text)
	}
	return -1, -1, 0
}

// closing is where a text ends that begins at i.
func closing(text string, i int) int {
	quote := text[i]
	for i++; i < len(text) && text[i] != quote; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// depth is how many objects stand in each other.
func depth(n fhir.Node) int {
	deepest := 0
	for _, m := range n.Members {
		deepest = max(deepest, depth(m.Value))
	}
	for _, item := range n.Items {
		deepest = max(deepest, depth(item))
	}
	if n.Kind == '{' {
		deepest++
	}
	return deepest
}
