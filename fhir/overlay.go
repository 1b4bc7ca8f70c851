package fhir

// Overlay is the resource with over's elements, and below's where over has none. Top-level elements
// are taken whole; meta is over's.
func Overlay(below, over *Resource) (*Resource, error) {
	doc := append([]byte(nil), over.JSON[:len(over.JSON)-1]...)
	for _, m := range below.Root.Members {
		if m.Name == "meta" || !over.Root.Get(m.Name).IsZero() {
			continue
		}
		doc = appendMember(doc, m)
	}
	return ReadTrusted(append(doc, '}'))
}
