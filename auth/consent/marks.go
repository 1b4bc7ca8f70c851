package consent

import (
	"bytes"
	"slices"
	"strings"

	"trellis/fhir"
)

// A mark says that a record is one a consent of its patient singles out: by a code in it, by its id, by what it refers to,
// by its author. Records with the same labels but other marks are in different segments, so that decisions stay decisions
// about segments and a query needs no look into records.
//
//	code:<system>|<code>   the coding stands anywhere in the record
//	instance:<Type>/<id>   it is that record
//	refers:<Type>/<id>     it refers to that record
//	author:<Type>/<id>     that one recorded it
//
// CodeMark is the mark of records that have a coding.
func CodeMark(c fhir.Coding) string { return "code:" + c.System + "|" + c.Code }

// marks lists what a provision's data item asks of a record: any of them.
func (d Data) marks() []string {
	switch d.Meaning {
	case "instance":
		return []string{"instance:" + d.Reference}
	case "dependents":
		return []string{"instance:" + d.Reference, "refers:" + d.Reference}
	case "authoredby":
		return []string{"author:" + d.Reference}
	}
	return nil
}

// Mentioned lists every mark the instruments distinguish records by, sorted.
func Mentioned(consents []Consent) []string {
	var out []string
	for p := range Provisions(consents) {
		for _, c := range p.Codes {
			out = append(out, CodeMark(c))
		}
		for _, d := range p.Data {
			out = append(out, d.marks()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MentionedTypes lists every resource type the instruments distinguish, sorted.
func MentionedTypes(consents []Consent) []string {
	var out []string
	for p := range Provisions(consents) {
		out = append(out, p.Types...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Marks lists those of the wanted marks that a record has, sorted. base is the server's, for references written in full.
func Marks(typ, id string, root fhir.Node, wanted []string, base string) []string {
	if len(wanted) == 0 {
		return nil
	}
	have := map[string]bool{"instance:" + typ + "/" + id: true}
	root.Walk(func(n fhir.Node) {
		if code := n.Get("code").Text(); code != "" {
			have[CodeMark(fhir.Coding{System: n.Get("system").Text(), Code: code})] = true
		}
		if ref, ok := fhir.ParseReference(n.Get("reference").Text(), base); ok {
			have["refers:"+ref.Type+"/"+ref.ID] = true
		}
	})
	for _, name := range []string{"author", "recorder", "requester", "performer", "asserter", "informationSource", "source", "sender", "assessor", "operator",
		"enterer", "provider", "agent", "participant", "prescriber", "custodian", "receiver", "reportOrigin", "reporter", "primarySource"} {
		n := root.Get(name)
		for _, one := range slices.Concat(n.List(), []fhir.Node{n}) {
			for _, at := range []fhir.Node{one, one.Get("actor"), one.Get("who"), one.Get("individual"), one.Get("member")} {
				if ref, ok := fhir.ParseReference(at.Get("reference").Text(), base); ok {
					have["author:"+ref.Type+"/"+ref.ID] = true
				}
			}
		}
	}
	var out []string
	for _, m := range wanted {
		if have[m] {
			out = append(out, m)
		}
	}
	return out
}

// MayHave reports whether a record stored under id could have a mark, by the bytes of its document alone: false is certain,
// true is for Marks to say.
func MayHave(mark, id string, doc []byte) bool {
	text := mark[max(strings.LastIndexByte(mark, '|'), strings.LastIndexByte(mark, '/'))+1:]
	return text == id || bytes.Contains(doc, []byte(text)) || bytes.IndexByte(doc, '\\') >= 0 // which may spell it otherwise
}

// marked reports whether a record's marks include one of those asked for.
func marked(have []string, asked []string) bool {
	return slices.ContainsFunc(asked, func(m string) bool { return slices.Contains(have, m) })
}

func (p *Provision) codes(q Query) bool {
	return len(p.Codes) == 0 || slices.ContainsFunc(p.Codes, func(c fhir.Coding) bool { return slices.Contains(q.Marks, CodeMark(c)) })
}

func (p *Provision) data(q Query) bool {
	return len(p.Data) == 0 || slices.ContainsFunc(p.Data, func(d Data) bool { return marked(q.Marks, d.marks()) })
}
