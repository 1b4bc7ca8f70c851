package rest

import (
	"strings"

	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/store"
)

// conditionalLinks checks the conditional references of a resource (https://hl7.org/fhir/R4/http.html#trules): each
// is a search, and needs its scope.
func (k *call) conditionalLinks(res *fhir.Resource) (map[string]*search.Query, error) {
	var out map[string]*search.Query
	for _, link := range fhir.Links(res) {
		typ, _, ok := strings.Cut(link, "?")
		if !ok || !fhir.KnownType(typ) {
			continue
		}
		q, err := k.criteria(typ, link)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string]*search.Query{}
		}
		out[link] = q
	}
	return out, nil
}

// relink points an entry's links at what the other entries became and at the one own record a condition finds.
func (k *call) relink(v *store.View, op *operation, resolved map[string]string) (*fhir.Resource, error) {
	if len(resolved) == 0 && len(op.links) == 0 && !op.inBundle {
		return op.res, nil
	}
	found := map[string]string{}
	for link, q := range op.links {
		ids, err := v.Match(q)
		switch {
		case err != nil:
			return nil, err
		case len(ids) == 0:
			return nil, fhir.NewProblem(fhir.Precondition, "not-found", "a conditional reference matches nothing")
		case len(ids) > 1:
			return nil, fhir.NewProblem(fhir.Precondition, "multiple-matches", "a conditional reference matches several resources")
		}
		found[link] = q.Type + "/" + ids[0]
	}
	base := serviceBase(op.fullURL)
	dangling := false
	doc, changed := fhir.Relink(op.res, func(link string, isReference bool) (string, bool) {
		if to, ok := found[link]; ok {
			return to, true
		}
		if to, ok := resolved[link]; ok {
			return to, true
		}
		if ref, ok := fhir.ParseReference(link, ""); ok && base != "" { // relative: to the entry's own server
			if to, ok := resolved[base+ref.String()]; ok {
				return to, true
			}
		}
		dangling = dangling || (isReference && strings.HasPrefix(link, "urn:uuid:"))
		return "", false
	})
	if dangling {
		return nil, fhir.NewProblem(fhir.Invalid, "not-found", "a urn:uuid reference names no entry of the Bundle")
	}
	if !changed {
		return op.res, nil
	}
	return fhir.ReadTrusted(doc)
}

// serviceBase is what a fullUrl of the form [base]/Type/id is relative to, with its slash; "" for any other.
func serviceBase(fullURL string) string {
	if !strings.HasPrefix(fullURL, "http") {
		return ""
	}
	rest, id, _ := cutLast(fullURL, "/")
	base, typ, ok := cutLast(rest, "/")
	if !ok || !fhir.KnownType(typ) || !fhir.ValidID(id) {
		return ""
	}
	return base + "/"
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
