package fhir

// Links lists what Relink would ask about, in document order.
func Links(r *Resource) []string {
	var out []string
	links(r.Root, false, func(n Node, _ bool) { out = append(out, n.Text()) })
	return out
}

// Relink copies a resource with links replaced: Reference.reference, and the elements of type uri or url that may
// hold one (Attachment.url, a value of an extension, ...). to gives the new text, or false to leave a link as it is. All
// other bytes are copied verbatim; narrative is not touched.
func Relink(r *Resource, to func(link string, isReference bool) (string, bool)) (doc []byte, changed bool) {
	out := make([]byte, 0, len(r.JSON)+64)
	at := 0
	links(r.Root, false, func(n Node, isReference bool) {
		if text, ok := to(n.Text(), isReference); ok {
			out = append(append(out, r.JSON[at:n.Start]...), Quote(text)...)
			at, changed = n.End, true
		}
	})
	return append(out, r.JSON[at:]...), changed
}

// links visits the texts that may be links. The url of an extension names it and is none.
func links(n Node, extension bool, visit func(n Node, isReference bool)) {
	for _, item := range n.Items {
		links(item, extension, visit)
	}
	for _, m := range n.Members {
		switch m.Name {
		case "extension", "modifierExtension":
			links(m.Value, true, visit)
			continue
		case "reference", "uri", "url", "valueUri", "valueUrl", "valueCanonical", "valueUuid", "valueOid":
			if m.Value.Kind == '"' {
				if m.Name != "url" || !extension {
					visit(m.Value, m.Name == "reference")
				}
				continue
			}
		}
		links(m.Value, false, visit)
	}
}
