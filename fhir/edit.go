package fhir

// Edit is what to do with one Reference object while a resource is copied.
type Edit struct {
	Drop    bool   // leave the whole Reference out
	Replace string // when not empty, the new value of Reference.reference
}

// RewriteReferences copies a resource's bytes and applies edit to each object that has a literal
// `reference`. All other bytes are copied verbatim. Where a dropped Reference was required by R4,
// the object around it goes too, and at the top level a masked Reference stands in its place, so that
// what is left is still a valid resource. changed reports whether anything differs.
func RewriteReferences(r *Resource, edit func(reference string) Edit) (doc []byte, changed bool) {
	w := rewriter{edit: edit, out: make([]byte, 0, len(r.JSON))}
	w.object(r.Root, r.Type)
	return w.out, w.changed
}

// DropReferences leaves out the references hide names, and every narrative in the resource: a text with
// a div, at any depth, may tell what they said.
func DropReferences(r *Resource, hide func(reference string) bool) []byte {
	w := rewriter{edit: func(ref string) Edit { return Edit{Drop: hide(ref)} }, narrativeless: true, out: make([]byte, 0, len(r.JSON))}
	w.object(r.Root, r.Type)
	return w.out
}

// maskedReference stands for a required Reference the caller may not see (data-absent-reason, R4 2.4).
const maskedReference = `{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}`

type rewriter struct {
	out           []byte
	edit          func(string) Edit
	narrativeless bool
	changed       bool
}

// value copies n and reports false when nothing of it was kept (out is then as before the call).
func (w *rewriter) value(n Node, path string) bool {
	switch n.Kind {
	case '{':
		return w.object(n, path)
	case '[':
		return w.array(n, path)
	default:
		w.out = append(w.out, n.Raw()...)
		return true
	}
}

func (w *rewriter) array(n Node, path string) bool {
	start := len(w.out)
	w.out = append(w.out, '[')
	kept := 0
	for _, item := range n.Items {
		mark := len(w.out)
		if kept > 0 {
			w.out = append(w.out, ',')
		}
		if w.value(item, path) {
			kept++
			continue
		}
		w.out = w.out[:mark]
	}
	if kept == 0 && len(n.Items) > 0 {
		w.out = w.out[:start]
		return false
	}
	w.out = append(w.out, ']')
	return true
}

func (w *rewriter) object(n Node, path string) bool {
	if ref := n.Get("reference"); ref.Kind == '"' {
		if e := w.edit(ref.Text()); e.Drop {
			w.changed = true
			return false
		} else if e.Replace != "" {
			w.changed = true
			w.copyReplacing(n, e.Replace)
			return true
		}
	}
	if typ := n.Get("resourceType"); typ.Kind == '"' {
		path = typ.Text()
	}
	start := len(w.out)
	w.out = append(w.out, '{')
	kept := 0
	for _, m := range n.Members {
		if w.narrativeless && m.Name == "text" && !m.Value.Get("div").IsZero() {
			continue
		}
		if path == "Group" && m.Name == "quantity" && w.cutsMember(n) {
			w.changed = true
			continue
		}
		mark := len(w.out)
		if kept > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, Quote(m.Name)...)
		w.out = append(w.out, ':')
		child := path + "." + m.Name
		if w.value(m.Value, child) {
			kept++
			continue
		}
		w.out = w.out[:mark]
		if !requiredReference(child) {
			continue
		}
		if n.Start != 0 {
			w.out = w.out[:start]
			return false
		}
		w.masked(m, kept > 0)
		kept++
	}
	if kept == 0 && len(n.Members) > 0 {
		w.out = w.out[:start]
		return false
	}
	w.out = append(w.out, '}')
	return true
}

// cutsMember reports whether a member of a Group goes: the number that was sent with it would tell.
func (w *rewriter) cutsMember(group Node) bool {
	for _, member := range group.Get("member").List() {
		if ref := member.Path("entity", "reference"); ref.Kind == '"' && w.edit(ref.Text()).Drop {
			return true
		}
	}
	return false
}

func (w *rewriter) masked(m Member, comma bool) {
	if comma {
		w.out = append(w.out, ',')
	}
	w.out = append(w.out, Quote(m.Name)...)
	w.out = append(w.out, ':')
	if m.Value.Kind == '[' {
		w.out = append(w.out, "["+maskedReference+"]"...)
		return
	}
	w.out = append(w.out, maskedReference...)
}

func (w *rewriter) copyReplacing(n Node, reference string) {
	w.out = append(w.out, '{')
	for i, m := range n.Members {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, Quote(m.Name)...)
		w.out = append(w.out, ':')
		if m.Name == "reference" {
			w.out = append(w.out, Quote(reference)...)
			continue
		}
		w.out = append(w.out, m.Value.Raw()...)
	}
	w.out = append(w.out, '}')
}
