package mapping

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
)

// A place is where something of a mapping was written.
type place struct {
	file string
	line int
}

func (c *compiler) place(n any, line int) {
	if c.places == nil {
		c.places = map[any]place{}
	}
	c.places[n] = place{c.file, line}
}

// nearField finds the field that a path of a mapping probably meant: the first part that is not known is replaced by
// its nearest neighbour.
func (c *compiler) nearField(text string) string {
	segs := strings.Split(strings.ReplaceAll(text, "[]", ""), ".")
	t, names := c.m.tree, []string{}
	for _, v := range c.scope {
		names = append(names, v.name)
	}
	if v := c.lookup(segs[0]); v != nil && len(segs) > 1 {
		return c.nearBelow(v.tree, segs, 1)
	}
	if t != nil && t.props[segs[0]] != nil {
		return c.nearBelow(t, segs, 0)
	}
	if t != nil {
		names = append(names, keysOf(t.props)...)
	}
	if best := nearest(segs[0], names); best != "" {
		segs[0] = best
		return `did you mean "` + strings.Join(segs, ".") + `"?`
	}
	return ""
}

func (c *compiler) nearBelow(t *fieldTree, segs []string, from int) string {
	for i := from; i < len(segs) && t != nil; i++ {
		next := t.props[segs[i]]
		if next == nil {
			if t.items != nil {
				return "walk the list with $each"
			}
			if best := nearest(segs[i], keysOf(t.props)); best != "" {
				segs[i] = best
				return `did you mean "` + strings.Join(segs, ".") + `"?`
			}
			return ""
		}
		t = next
	}
	return ""
}

// celFaults tells what is wrong with an expression, each mistake by itself, without the library's drawing of it.
func (c *compiler) celFaults(iss *cel.Issues, line int) {
	undeclared := regexp.MustCompile(`^undeclared reference to '([^']+)'`)
	for _, e := range iss.Errors() {
		hint := ""
		if m := undeclared.FindStringSubmatch(e.Message); m != nil {
			known := []string{"record", "org", "now", "table", "day", "instant", "latest", "sum", "repeated"}
			for _, v := range c.scope {
				known = append(known, v.name)
			}
			for _, l := range c.m.lets {
				known = append(known, l.name)
			}
			hint = didYouMean(m[1], known)
			if why := c.unusable(m[1]); why != "" {
				hint = why
			}
			if c.m.tree != nil && c.m.tree.props[m[1]] != nil {
				hint = `did you mean "record.` + m[1] + `"?`
			}
		}
		message, _, _ := strings.Cut(e.Message, " (") // the library's own guess, or where it looked
		c.hint(line, hint, "CEL: %s (column %d)", strings.ReplaceAll(message, "\n", " "), e.Location.Column()+1)
	}
}
