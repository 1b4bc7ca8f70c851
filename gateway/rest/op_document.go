package rest

import (
	"github.com/google/uuid"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// document serves [base]/Composition/[id]/$document (https://hl7.org/fhir/R4/composition-operation-document.html): the
// Composition and what it refers to, as far as caller and token may see it. References to the rest are cut as in any
// answer. Nothing is stored.
func (k *call) document() error {
	in, err := k.inputs("persist")
	if err != nil {
		return err
	}
	persist, err := in.boolean("persist", false)
	if err != nil {
		return err
	}
	if persist {
		return fhir.NewProblem(fhir.Unsupported, "not-supported", "documents are made anew for who asks and are not kept: persist may not be true")
	}
	target, err := k.visible(fhir.Reference{Type: "Composition", ID: k.c.Param("id")})
	if err != nil {
		return err
	}
	made, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return err
	}
	set := release.Set{Type: "document", Rows: []store.Row{target.Row}, Document: &release.Document{ID: uuid.NewString(), Made: made}}
	reach := store.Reach{Anybody: true}
	for _, typ := range fhir.Types() {
		if k.may(typ, smart.Read) {
			reach.Types = append(reach.Types, typ)
		}
	}
	if err := k.refer(&set, reach); err != nil {
		return err
	}
	return k.respondBundle(set)
}
