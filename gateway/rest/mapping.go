package rest

import (
	"encoding/json"
	"net/http"

	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/gateway/intake"
	"trellis/mapping"
)

// mappingRoutes are the functions of `trellis map` for an organisation's console: they work on what the caller sends, with the
// packs of the gateway and the caller's own id space, and store nothing. They are for clients that may send the records, so a
// token needs to create and update every type the pack makes.
func mappingRoutes() []route {
	get := func(path string, serve func(*call) error) route {
		return route{method: http.MethodGet, path: path, interaction: "mapping", anyFormat: true, serve: serve}
	}
	post := func(path string, serve func(*call) error) route {
		return route{method: http.MethodPost, path: path, interaction: "mapping", anyFormat: true, serve: serve}
	}
	return []route{
		get("/map", (*call).mapPacks),
		get("/map/:kind/coverage", (*call).mapCoverage),
		get("/map/:kind/explain", (*call).mapExplain),
		get("/map/:kind/golden", (*call).mapGolden),
		get("/map/:kind/lint", (*call).mapLint),
		get("/map/:kind/export", (*call).mapExport),
		post("/map/new", (*call).mapNew),
		post("/map/lint", (*call).mapLintDraft),
		post("/map/:kind/run", (*call).mapRun),
		post("/map/:kind/roundtrip", (*call).mapRoundtrip),
		post("/map/:kind/back", (*call).mapBack),
		post("/map/:kind/diff", (*call).mapDiff),
		post("/map/:kind/merge", (*call).mapMerge),
	}
}

// trial prepares the pack of the URL for the caller's organisation.
func (k *call) trial() (*intake.Trial, error) {
	t, err := k.s.Intake.Try(k.ctx, k.c.Param("kind"), k.caller.principal.Organization)
	if err != nil {
		// An unknown kind is told to those only who may send some.
		if !k.caller.reach.mayAsSystem("Provenance", smart.Create|smart.Update) {
			return nil, forbidden()
		}
		return nil, err
	}
	return t, k.maySend(t)
}

func (k *call) maySend(t *intake.Trial) error {
	for _, typ := range t.Makes() {
		if err := k.allowAsSystem(typ, smart.Create|smart.Update); err != nil {
			return err
		}
	}
	return nil
}

func (k *call) plain(v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	k.c.Data(http.StatusOK, "application/json; charset=utf-8", doc)
	return nil
}

// delivery reads what is to be mapped: CSV files as a form, or JSON.
func (k *call) delivery(t *intake.Trial) ([]mapping.File, error) {
	if t.Pack().Format == "csv" {
		return k.files()
	}
	body, err := k.body()
	return []mapping.File{{Name: "body", Data: body}}, err
}

// packEntry is one pack of the list.
type packEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Format  string `json:"format"`
	Title   string `json:"title"`
}

// mapPacks lists the packs whose records the caller may send.
func (k *call) mapPacks() error {
	list := []packEntry{}
	for _, p := range k.s.Intake.Packs() {
		t, err := k.s.Intake.Try(k.ctx, p.Name, k.caller.principal.Organization)
		if err != nil {
			return err
		}
		if k.maySend(t) == nil {
			list = append(list, packEntry{p.Name, p.Version, p.Format, p.Title})
		}
	}
	if len(list) == 0 {
		return forbidden()
	}
	return k.plain(map[string]any{"packs": list})
}

func (k *call) mapCoverage() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	return k.plain(map[string]any{"pack": t.Pack().Name, "version": t.Pack().Version, "fields": t.Pack().Uses()})
}

func (k *call) mapExplain() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	path := k.c.Query("path")
	rules := t.Pack().Explain(path)
	if path == "" || len(rules) == 0 {
		return fhir.NewProblem(fhir.NotFound, "not-found", "no rule of the pack makes or uses what path names: a FHIR element such as Encounter.status, or a native field")
	}
	return k.plain(map[string]any{"path": path, "rules": rules})
}

func (k *call) mapGolden() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	cases, err := t.Golden()
	if err != nil {
		return err
	}
	return k.plain(map[string]any{"cases": cases})
}

func (k *call) mapRun() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	lineage, err := k.flag("lineage")
	if err != nil {
		return err
	}
	files, err := k.delivery(t)
	if err != nil {
		return err
	}
	out, err := t.Run(files, lineage)
	if err != nil {
		return err
	}
	return k.plain(out)
}

func (k *call) mapRoundtrip() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	files, err := k.delivery(t)
	if err != nil {
		return err
	}
	out, err := t.Roundtrip(files)
	if err != nil {
		return err
	}
	return k.plain(out)
}

func (k *call) mapBack() error {
	t, err := k.trial()
	if err != nil {
		return err
	}
	body, err := k.body()
	if err != nil {
		return err
	}
	out, err := t.Back(body)
	if err != nil {
		return err
	}
	return k.plain(out)
}

// mapInput is the body of diff (old, new) and merge (from, current, resources, deleted).
type mapInput struct {
	Old       json.RawMessage   `json:"old"`
	New       json.RawMessage   `json:"new"`
	From      json.RawMessage   `json:"from"`
	Current   json.RawMessage   `json:"current"`
	Resources []json.RawMessage `json:"resources"`
	Deleted   []string          `json:"deleted"`
}

func (k *call) mapInput() (*intake.Trial, mapInput, error) {
	var in mapInput
	t, err := k.trial()
	if err != nil {
		return nil, in, err
	}
	body, err := k.body()
	if err != nil {
		return nil, in, err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, in, fhir.NewProblem(fhir.Invalid, "structure", "the body is not the JSON object that this function takes").Because(err)
	}
	return t, in, nil
}

func (k *call) mapDiff() error {
	t, in, err := k.mapInput()
	if err != nil {
		return err
	}
	if in.Old == nil || in.New == nil {
		return fhir.NewProblem(fhir.Invalid, "required", "give the record as it was (old) and as it is now (new)")
	}
	out, err := t.Diff(in.Old, in.New)
	if err != nil {
		return err
	}
	return k.plain(map[string]any{"resources": out})
}

func (k *call) mapMerge() error {
	t, in, err := k.mapInput()
	if err != nil {
		return err
	}
	if in.From == nil || in.Current == nil {
		return fhir.NewProblem(fhir.Invalid, "required", "give the record as the partner read it (from), as it is now (current), and the partner's resources")
	}
	bodies := make([][]byte, len(in.Resources))
	for i, r := range in.Resources {
		bodies[i] = r
	}
	out, err := t.Merge(in.From, in.Current, bodies, in.Deleted)
	if err != nil {
		return err
	}
	return k.plain(out)
}
