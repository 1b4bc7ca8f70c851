package rest

import (
	"encoding/json"
	"mime"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/intake"
)

// What is about packs themselves and not about records: those of the gateway, and drafts that a console sends along. No draft is
// kept; one that is finished goes into the deployment's packs folder.

// mapLint tells everything about a pack of the gateway.
func (k *call) mapLint() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	found, err := t.Lint()
	if err != nil {
		return err
	}
	return k.plain(found)
}

// mapExport gives a pack as FHIR definitions, in a collection.
func (k *call) mapExport() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	list, err := t.Export(k.c.Query("as"))
	if err != nil {
		return err
	}
	type entry struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	}
	entries := make([]entry, len(list))
	for i, r := range list {
		entries[i] = entry{fhir.LocalBase + "/" + r.Type + "/" + r.ID, r.JSON}
	}
	return k.plain(map[string]any{"resourceType": "Bundle", "type": "collection", "entry": entries})
}

// drafts is G1 for drafts: for clients that may send records of some kind.
func (k *call) drafts() error {
	if !k.caller.reach.mayAsSystem("Provenance", smart.Create|smart.Update) {
		return forbidden()
	}
	return nil
}

// mapNew begins a pack from a sample: JSON, or CSV as text/csv.
func (k *call) mapNew() error {
	if err := k.drafts(); err != nil {
		return err
	}
	media, _, err := mime.ParseMediaType(k.c.ContentType())
	csv := err == nil && media == "text/csv"
	var sample []byte
	if csv {
		sample, err = k.bytes()
	} else {
		sample, err = k.body()
	}
	if err != nil {
		return err
	}
	draft, err := intake.NewDraft(k.c.Query("name"), sample, csv)
	if err != nil {
		return err
	}
	return k.plain(draft)
}

// mapLintDraft tells everything about a draft, which has the form that mapNew gives.
func (k *call) mapLintDraft() error {
	if err := k.drafts(); err != nil {
		return err
	}
	body, err := k.body()
	if err != nil {
		return err
	}
	var draft intake.Draft
	if err := json.Unmarshal(body, &draft); err != nil || draft.Name == "" {
		return fhir.NewProblem(fhir.Invalid, "structure", "the body must be a draft: its name, and its files by path").Because(err)
	}
	found, err := draft.Lint()
	if err != nil {
		return err
	}
	return k.plain(found)
}
