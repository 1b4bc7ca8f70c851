package rest

import (
	"net/http"
	"slices"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
)

// metaView is a resource's meta, labels and notice included, as the parameter an operation returns.
func metaView() release.View {
	return release.View{KeepsMeta: true, Of: func(released []byte) ([]byte, error) {
		root, err := fhir.ParseJSON(released)
		if err != nil {
			return nil, err
		}
		out := append([]byte(`{"resourceType":"Parameters","parameter":[{"name":"return","valueMeta":`), root.Get("meta").Raw()...)
		return append(out, `}]}`...), nil
	}}
}

// meta serves [base]/[type]/[id]/$meta (https://hl7.org/fhir/R4/resource-operation-meta.html). Of a type or the system
// it is not offered: it would have to look at every record the caller may see.
func (k *call) meta() error {
	if _, err := k.inputs(); err != nil {
		return err
	}
	target, err := k.s.Store.Lookup(k.ctx, k.caller.reading, k.c.Param("type"), k.c.Param("id"), 0)
	if err != nil {
		return err
	}
	view := metaView()
	released, err := k.s.Gate.ResourceAs(k.ctx, k.req, target, nil, &view)
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// metaAdd serves [base]/[type]/[id]/$meta-add (https://hl7.org/fhir/R4/resource-operation-meta-add.html) for the record's
// custodian: profiles, tags and labels are put beside those that are there.
func (k *call) metaAdd() error {
	return k.changeMeta(func(have, given []fhir.Node) []fhir.Node {
		for _, n := range given {
			if !slices.ContainsFunc(have, func(h fhir.Node) bool { return sameMeta(h, n) }) {
				have = append(have, n)
			}
		}
		return have
	})
}

// metaDelete serves [base]/[type]/[id]/$meta-delete (https://hl7.org/fhir/R4/resource-operation-meta-delete.html) for the
// record's custodian. A label that the record's source or content gives cannot be taken off.
func (k *call) metaDelete() error {
	return k.changeMeta(func(have, given []fhir.Node) []fhir.Node {
		return slices.DeleteFunc(have, func(h fhir.Node) bool {
			return slices.ContainsFunc(given, func(n fhir.Node) bool { return sameMeta(h, n) })
		})
	})
}

// sameMeta compares two profiles, or two codings by system and code.
func sameMeta(a, b fhir.Node) bool {
	if a.Kind == '"' || b.Kind == '"' {
		return a.Text() == b.Text()
	}
	return a.Get("system").Text() == b.Get("system").Text() && a.Get("code").Text() == b.Get("code").Text()
}

// changeMeta makes a new version of an own record with other profiles, tags and labels.
func (k *call) changeMeta(change func(have, given []fhir.Node) []fhir.Node) error {
	in, err := k.inputs("meta")
	if err != nil {
		return err
	}
	given, err := in.node("meta")
	if err != nil {
		return err
	}
	if err := onlyLabels(given); err != nil {
		return err
	}
	op := operation{verb: smart.Update, typ: k.c.Param("type"), id: k.c.Param("id"), patch: func(current *fhir.Resource) ([]byte, error) {
		doc := withMeta(current, given, change)
		return doc, k.keepsLabels(current, doc)
	}}
	if op.ifMatch, err = ifMatch(k.c.GetHeader("If-Match")); err != nil {
		return err
	}
	written, err := k.transact([]operation{op})
	if err != nil {
		return err
	}
	released, err := k.s.Gate.WrittenAs(k.req, written[0], metaView())
	if err != nil {
		return err
	}
	k.respond(http.StatusOK, released)
	return nil
}

// onlyLabels refuses a meta with more than these operations change: to pass over the rest would look like doing it.
func onlyLabels(meta fhir.Node) error {
	if len(meta.Members) == 0 {
		return badInput("meta", "is required, with profile, tag or security")
	}
	for _, m := range meta.Members {
		if m.Name != "profile" && m.Name != "tag" && m.Name != "security" || m.Value.Kind != '[' {
			return badInput("meta", "may have lists of profile, tag and security only")
		}
		for _, item := range m.Value.Items {
			if m.Name == "profile" && item.Kind != '"' || m.Name != "profile" && item.Get("code").Text() == "" {
				return badInput("meta", "has a profile without a URL or a coding without a code")
			}
		}
	}
	return nil
}

// withMeta copies a resource with its meta changed.
func withMeta(r *fhir.Resource, given fhir.Node, change func(have, given []fhir.Node) []fhir.Node) []byte {
	meta := r.Root.Get("meta")
	out := []byte(`{"resourceType":` + string(fhir.Quote(r.Type)) + `,"meta":{`)
	first := true
	member := func(name string, value []byte) {
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(append(append(out, fhir.Quote(name)...), ':'), value...)
	}
	for _, m := range meta.Members {
		if m.Name != "profile" && m.Name != "tag" && m.Name != "security" {
			member(m.Name, m.Value.Raw())
		}
	}
	for _, name := range []string{"profile", "tag", "security"} {
		list := change(slices.Clone(meta.Get(name).Items), given.Get(name).Items)
		if len(list) == 0 {
			continue
		}
		value := []byte{'['}
		for i, item := range list {
			if i > 0 {
				value = append(value, ',')
			}
			value = append(value, item.Raw()...)
		}
		member(name, append(value, ']'))
	}
	out = append(out, '}')
	for _, m := range r.Root.Members {
		if m.Name != "resourceType" && m.Name != "meta" {
			out = append(append(append(append(out, ','), fhir.Quote(m.Name)...), ':'), m.Value.Raw()...)
		}
	}
	return append(out, '}')
}

// keepsLabels refuses to take a label off that classification would put back at once.
func (k *call) keepsLabels(before *fhir.Resource, doc []byte) error {
	after, err := fhir.ReadTrusted(doc)
	if err != nil {
		return err
	}
	left := after.Root.Path("meta", "security").List()
	segment := k.s.Labels.Classify(after, k.caller.principal.Organization.Source(), nil)
	for _, was := range before.Root.Path("meta", "security").List() {
		if slices.ContainsFunc(left, func(n fhir.Node) bool { return sameMeta(n, was) }) {
			continue
		}
		if slices.Contains(segment.Security(), fhir.Coding{System: was.Get("system").Text(), Code: was.Get("code").Text()}) {
			return fhir.NewProblem(fhir.Unprocessable, "business-rule", "a label that follows from the record's source or content cannot be taken off").At(after.Type + ".meta.security")
		}
	}
	return nil
}
