package fhir

import (
	"bytes"
	"strings"
)

// Summary is what of a resource is wanted (R4 3.1.1.5.8).
type Summary int

// The summaries. SummaryCount asks for no resources at all.
const (
	SummaryFalse Summary = iota
	SummaryTrue
	SummaryText
	SummaryData
	SummaryCount
)

// ParseSummary reads the value of _summary.
func ParseSummary(s string) (mode Summary, ok bool) {
	switch s {
	case "false":
		return SummaryFalse, true
	case "true":
		return SummaryTrue, true
	case "text":
		return SummaryText, true
	case "data":
		return SummaryData, true
	case "count":
		return SummaryCount, true
	}
	return SummaryFalse, false
}

// subsettedTag marks a resource that is not whole (R4 3.1.1.5.8).
const subsettedTag = `{"system":"` + SystemObservation + `","code":"SUBSETTED"}`

// Summarize cuts a resource down to a summary or, with elements, to those top-level elements
// (R4 3.1.1.5.8 and 3.1.1.5.9). Mandatory and modifier elements, id and meta always stay: without them
// the rest could be misread, and meta holds the security labels. What stays is copied byte for byte;
// meta gets the tag SUBSETTED. A document that is no R4 resource is an error.
func Summarize(doc []byte, mode Summary, elements []string) ([]byte, error) {
	if len(elements) == 0 && (mode == SummaryFalse || mode == SummaryCount) {
		return doc, nil
	}
	root, err := ParseJSON(doc)
	if err != nil {
		return nil, NewProblem(Internal, "exception", "the resource could not be summarized").Because(err)
	}
	typ := root.Get("resourceType").Text()
	if !KnownType(typ) {
		return nil, NewProblem(Internal, "exception", "the resource could not be summarized")
	}
	return Subset(root, func(name string) bool {
		top, ok := elementOf(typ, name)
		if !ok || top.mandatory || isKept(name) {
			return true
		}
		switch {
		case len(elements) > 0:
			return contains(elements, top.name)
		case mode == SummaryTrue:
			return top.summary
		case mode == SummaryText:
			return top.name == "text"
		}
		return top.name != "text"
	}), nil
}

// isKept names the elements no subset leaves out: identity and what modifies the meaning of the rest.
func isKept(name string) bool {
	switch name {
	case "resourceType", "id", "meta", "implicitRules", "modifierExtension":
		return true
	}
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Subset copies the members of a resource that keep names, with the extensions of primitive ones
// (_name goes with name), and tags meta SUBSETTED.
func Subset(root Node, keep func(name string) bool) []byte {
	out := make([]byte, 0, root.End-root.Start+len(subsettedTag)+32)
	out = append(out, '{')
	hasMeta := !root.Get("meta").IsZero()
	for _, m := range root.Members {
		if !keep(strings.TrimPrefix(m.Name, "_")) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, Quote(m.Name)...)
		out = append(out, ':')
		if m.Name == "meta" {
			out = appendTagged(out, m.Value)
			continue
		}
		out = append(out, m.Value.Raw()...)
		if m.Name == "resourceType" && !hasMeta {
			out = append(out, `,"meta":{"tag":[`+subsettedTag+`]}`...)
		}
	}
	return append(out, '}')
}

// appendTagged copies meta with the tag added; every other byte, security labels above all, stays.
func appendTagged(out []byte, meta Node) []byte {
	tag := meta.Get("tag")
	raw := meta.Raw()
	switch {
	case bytes.Contains(tag.Raw(), []byte(subsettedTag)):
		return append(out, raw...)
	case tag.Kind == '[' && len(tag.Items) > 0:
		end := tag.End - 1 - meta.Start
		out = append(out, raw[:end]...)
		out = append(out, ","+subsettedTag...)
		return append(out, raw[end:]...)
	case tag.IsZero():
		out = append(out, raw[:len(raw)-1]...)
		if len(meta.Members) > 0 {
			out = append(out, ',')
		}
		return append(out, `"tag":[`+subsettedTag+`]}`...)
	}
	out = append(out, raw[:tag.Start-meta.Start]...)
	out = append(out, "["+subsettedTag+"]"...)
	return append(out, raw[tag.End-meta.Start:]...)
}

// topElement is what R4 says of one top-level element.
type topElement struct {
	name               string
	summary, mandatory bool
}

// elementOf finds the element a JSON member of a resource belongs to: valueQuantity to value[x].
func elementOf(typ, member string) (topElement, bool) {
	for list := topElements(typ); list != ""; {
		var entry string
		entry, list, _ = strings.Cut(list, " ")
		name := strings.TrimRight(entry, "+!")
		e := topElement{name: name, summary: strings.Contains(entry, "+"), mandatory: strings.Contains(entry, "!")}
		if choice, isChoice := strings.CutSuffix(name, "[x]"); isChoice {
			e.name = choice
			rest, found := strings.CutPrefix(member, choice)
			if found && (rest == "" || rest[0] >= 'A' && rest[0] <= 'Z') {
				return e, true
			}
		} else if name == member {
			return e, true
		}
	}
	return topElement{}, false
}

// HasElement reports whether R4 gives the type a top-level element of the name; a choice is named
// without its type (value, not valueQuantity).
func HasElement(typ, name string) bool {
	e, ok := elementOf(typ, name)
	return ok && e.name == name
}
