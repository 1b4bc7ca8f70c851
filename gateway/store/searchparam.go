package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/fhir/search"
)

// The states of a custom search parameter. Only a ready one can be searched by.
const (
	ParameterIndexing = "indexing"
	ParameterReady    = "ready"
	parameterRemoving = "removing"
)

// ParameterStatus is how far the index rows of a custom search parameter are made.
type ParameterStatus struct {
	State       string
	Done, Total int64 // resources
}

// CustomParameter reads a SearchParameter resource as what this deployment can serve. defines is false for one that is
// not active: it is stored and nothing more.
func CustomParameter(root fhir.Node) (c search.Custom, defines bool, err error) {
	refuse := func(element, why string) error {
		return fhir.NewProblem(fhir.Unprocessable, "not-supported", why).At("SearchParameter." + element)
	}
	if root.Get("status").Text() != "active" {
		return c, false, nil
	}
	c = search.Custom{Code: root.Get("code").Text(), Kind: search.Kind(root.Get("type").Text()), Expression: root.Get("expression").Text(), URL: root.Get("url").Text()}
	for _, b := range root.Get("base").List() {
		c.Base = append(c.Base, b.Text())
	}
	for _, t := range root.Get("target").List() {
		c.Targets = append(c.Targets, t.Text())
	}
	switch c.Code {
	case "date", "onset-date", "authored", "authoredon", "recorded-date", "period", "start-date", "effective":
		return c, true, refuse("code", "R4 uses this code for the time of care; choose another")
	}
	switch usage := root.Get("xpathUsage").Text(); usage {
	case "", "normal":
	default:
		return c, true, refuse("xpathUsage", "only normal use is offered")
	}
	for _, element := range []string{"component", "derivedFrom", "chain"} {
		if len(root.Get(element).List()) > 0 {
			return c, true, refuse(element, "this element is not offered for custom definitions")
		}
	}
	return c, true, nil
}

// parameterCounter counts changes of custom parameters.
const parameterCounter = "parameters"

// SyncParameters takes over what changed about custom search parameters: first the operator's resources into the table,
// then the table into this process's registry. It costs two look-ups when nothing did; every replica calls it a few
// times a second.
func (s *Store) SyncParameters(ctx context.Context) error {
	stands := false
	err := s.engine.Read(ctx, func(tx Tx) error {
		var err error
		stands, err = s.parametersStand(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	if !stands {
		if err := s.write(ctx, (*writer).reconcileParameters); err != nil {
			return err
		}
	}
	return s.loadParameters(ctx)
}

// parametersStand reports whether the SearchParameter resources are the ones the table was made of. Every write raises a
// version, so their sum never comes back to what it was.
func (s *Store) parametersStand(ctx context.Context, tx Tx) (bool, error) {
	sum, err := s.parameterSum(ctx, tx)
	if err != nil {
		return false, err
	}
	var done int64
	_, err = one(ctx, tx, "SELECT value FROM counter WHERE name='parameters.sum'", nil, &done)
	return sum == done, err
}

func (s *Store) parameterSum(ctx context.Context, tx Tx) (int64, error) {
	typeNo, err := s.lookup(ctx, tx, dictType, "SearchParameter")
	if err != nil {
		return 0, err
	}
	var sum int64
	_, err = one(ctx, tx, "SELECT CAST(COALESCE(SUM(ver),0) AS BIGINT) FROM res WHERE part=0 AND type_no=?", []any{typeNo}, &sum)
	return sum, err
}

// loadParameters defines the parameters of the table in the registry when they changed.
func (s *Store) loadParameters(ctx context.Context) error {
	var epoch int64
	var defs []search.Custom
	changed := false
	err := s.engine.Read(ctx, func(tx Tx) error {
		// The count is read first: what changes after it is read again next time.
		if _, err := one(ctx, tx, "SELECT value FROM counter WHERE name=?", []any{parameterCounter}, &epoch); err != nil {
			return err
		}
		if changed = epoch != s.parameters.Load(); !changed {
			return nil
		}
		rows, err := readParameters(ctx, tx)
		for _, row := range rows {
			if row.state != parameterRemoving {
				row.def.Ready = row.state == ParameterReady
				defs = append(defs, row.def)
			}
		}
		return err
	})
	if err != nil || !changed {
		return err
	}
	if err := s.registry.Define(defs); err != nil {
		return err
	}
	s.parameters.Store(epoch)
	return nil
}

// parameterRow is a row of search_parameter.
type parameterRow struct {
	id, state, body            string
	changed, next, done, total int64
	def                        search.Custom
}

func readParameters(ctx context.Context, tx Tx) ([]parameterRow, error) {
	var out []parameterRow
	err := each(ctx, tx, "SELECT id,state,body,changed,next,done,total FROM search_parameter ORDER BY changed,id", nil, func(r Rows) error {
		var p parameterRow
		if err := r.Scan(&p.id, &p.state, &p.body, &p.changed, &p.next, &p.done, &p.total); err != nil {
			return err
		}
		out = append(out, p)
		return json.Unmarshal([]byte(p.body), &out[len(out)-1].def)
	})
	return out, err
}

// lockParameters makes this transaction the one that changes custom parameters, and counts a change.
func (w *writer) lockParameters() error {
	_, err := w.tx.Exec(w.ctx, "INSERT INTO counter (name,value) VALUES (?,1) ON CONFLICT (name) DO UPDATE SET value=counter.value+1", parameterCounter)
	return err
}

// reconcileParameters brings the table to what the operator's resources say. A definition that changed is removed first;
// once its rows are gone the table is looked at again, and it comes back as a new one.
func (w *writer) reconcileParameters() error {
	if err := w.lockParameters(); err != nil {
		return err
	}
	sum, err := w.s.parameterSum(w.ctx, unshared{w.tx})
	if err != nil {
		return err
	}
	want, err := w.wantedParameters()
	if err != nil {
		return err
	}
	rows, err := readParameters(w.ctx, w.tx)
	if err != nil {
		return err
	}
	taken := map[string]bool{} // "Type.code": two definitions of one code cannot both be served
	for _, row := range rows {
		body, err := json.Marshal(want[row.id])
		if err != nil {
			return err
		}
		_, wanted := want[row.id]
		if wanted && string(body) == row.body && row.state != parameterRemoving {
			takeCodes(taken, row.def)
			delete(want, row.id)
			continue
		}
		delete(want, row.id)
		takeCodes(taken, row.def)
		if row.state != parameterRemoving {
			if _, err := w.tx.Exec(w.ctx, "UPDATE search_parameter SET state=?,changed=?,next=0,done=0 WHERE id=?", parameterRemoving, w.now, row.id); err != nil {
				return err
			}
		}
	}
	for id, def := range want {
		if !takeCodes(taken, def) {
			continue // until the other one goes
		}
		if err := w.addParameter(id, def); err != nil {
			return err
		}
	}
	_, err = w.tx.Exec(w.ctx, "INSERT INTO counter (name,value) VALUES ('parameters.sum',?) ON CONFLICT (name) DO UPDATE SET value=excluded.value", sum)
	return err
}

// takeCodes notes the codes a definition serves and reports whether they were free.
func takeCodes(taken map[string]bool, def search.Custom) bool {
	for _, typ := range def.Base {
		if taken[typ+"."+def.Code] {
			return false
		}
	}
	for _, typ := range def.Base {
		taken[typ+"."+def.Code] = true
	}
	return true
}

func (w *writer) addParameter(id string, def search.Custom) error {
	body, err := json.Marshal(def)
	if err != nil {
		return err
	}
	types, err := w.typeNumbers(def.Base)
	if err != nil {
		return err
	}
	var total int64
	if _, err := one(w.ctx, w.tx, "SELECT COUNT(*) FROM res WHERE part=0 AND del=0 AND ver>0 AND "+w.s.dialect.In("type_no"), []any{types}, &total); err != nil {
		return err
	}
	_, err = w.tx.Exec(w.ctx, "INSERT INTO search_parameter (id,state,changed,next,done,total,body) VALUES (?,?,?,0,0,?,?)", id, ParameterIndexing, w.now, total, string(body))
	return err
}

func (w *writer) typeNumbers(types []string) (Int64s, error) {
	out := make(Int64s, 0, len(types))
	for _, typ := range types {
		no, err := w.intern(dictType, typ)
		if err != nil {
			return nil, err
		}
		out = append(out, no)
	}
	return out, nil
}

// wantedParameters reads the active definitions the operator holds. One the registry cannot serve (any more) is left out.
func (w *writer) wantedParameters() (map[string]search.Custom, error) {
	typeNo, err := w.intern(dictType, "SearchParameter")
	if err != nil {
		return nil, err
	}
	out := map[string]search.Custom{}
	err = each(w.ctx, w.tx, "SELECT r.id,r.seg,v.enc,v.doc FROM res r JOIN body v ON v.part=0 AND v.seq=r.seq WHERE r.part=0 AND r.type_no=? AND r.del=0 AND r.ver>0", []any{typeNo}, func(r Rows) error {
		var id string
		var seg, enc int64
		var doc []byte
		if err := r.Scan(&id, &seg, &enc, &doc); err != nil {
			return err
		}
		if w.s.Segment(seg).Custodian != access.OperatorID {
			return nil
		}
		sealed, err := w.s.decompress(enc, doc)
		if err != nil {
			return err
		}
		root, err := fhir.ParseJSON(sealed.Doc)
		if err != nil {
			return fmt.Errorf("store: a stored SearchParameter cannot be read")
		}
		def, defines, err := CustomParameter(root)
		if err == nil && defines && w.s.registry.Check(def) == nil {
			out[id] = def
		}
		return nil
	})
	return out, err
}

// ParameterStatus tells how far a custom parameter is, by the id of its resource. ErrNotFound when none is defined by it.
func (s *Store) ParameterStatus(ctx context.Context, id string) (ParameterStatus, error) {
	var out ParameterStatus
	err := s.engine.Read(ctx, func(tx Tx) error {
		found, err := one(ctx, tx, "SELECT state,done,total FROM search_parameter WHERE id=?", []any{id}, &out.State, &out.Done, &out.Total)
		if err == nil && !found {
			err = ErrNotFound
		}
		return err
	})
	return out, err
}

// parameterGrace is how long after a change its index work begins where there may be several replicas: by then each has
// read the change, and what a write extracted before that is in the database or holds its lock.
const parameterGrace = 3 * time.Second

// errSettled ends a write that found nothing to do.
var errSettled = errors.New("store: nothing to do")
