package store

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/fhir/search"
)

// AgreementType is the type whose resources record agreements between organisations.
const AgreementType = "OrganizationAffiliation"

// Code system and extensions of agreements (elements R4 has no field for).
const (
	SystemAgreement     = fhir.LocalBase + "/CodeSystem/agreement"
	ExtAgreementPurpose = fhir.LocalBase + "/StructureDefinition/agreement-purpose" // a v3-ActReason code it is for
	ExtAgreementCopies  = fhir.LocalBase + "/StructureDefinition/agreement-copies"  // of an audit: copies may be taken
)

// termsLife is how long terms read from the database are used: what another replica recorded holds within it.
const termsLife = time.Second

// termsCache keeps the terms in force.
type termsCache struct {
	rules   atomic.Pointer[access.Switches]
	current atomic.Pointer[access.Terms]
	read    atomic.Int64 // UnixNano of our own clock
}

// settingRules keeps the rules counsel switched, for tools that open the data without the configuration.
const settingRules = "rules"

// SetRules says which rules counsel switched. It is called once, before the store is used.
func (s *Store) SetRules(ctx context.Context, rules access.Switches) error {
	s.terms.rules.Store(&rules)
	s.terms.read.Store(0)
	return s.PutSetting(ctx, settingRules, []byte(rules))
}

// loadRules takes over what the server was told.
func (s *Store) loadRules(ctx context.Context) error {
	kept, _, err := s.Setting(ctx, settingRules)
	rules := access.Switches(kept)
	s.terms.rules.Store(&rules)
	return err
}

// Terms is what decisions rest on besides patients' facts, not older than a second.
func (s *Store) Terms(ctx context.Context) (access.Terms, error) {
	if t := s.terms.current.Load(); t != nil && time.Since(time.Unix(0, s.terms.read.Load())) < termsLife {
		return *t, nil
	}
	var t access.Terms
	read := time.Now().UnixNano()
	err := s.engine.Read(ctx, func(tx Tx) (err error) {
		t, err = s.loadTerms(ctx, tx, forever)
		return err
	})
	if err == nil {
		s.terms.current.Store(&t)
		s.terms.read.Store(read)
	}
	return t, err
}

// knownTerms are the terms read last. Whoever asks the store anything has read them within a second.
func (s *Store) knownTerms() access.Terms {
	if t := s.terms.current.Load(); t != nil {
		return *t
	}
	return access.Terms{}
}

// TermsAt is the terms as they were recorded at known, under the rules of today.
func (s *Store) TermsAt(ctx context.Context, known time.Time) (t access.Terms, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		t, err = s.loadTerms(ctx, tx, known.UnixMicro())
		return err
	})
	return t, err
}

// loadTerms reads the latest version not later than known of every recorded agreement.
func (s *Store) loadTerms(ctx context.Context, tx Tx, known int64) (access.Terms, error) {
	var t access.Terms
	if rules := s.terms.rules.Load(); rules != nil {
		t.Rules = *rules
	}
	typeNo, err := s.lookup(ctx, tx, dictType, AgreementType)
	if err != nil {
		return t, err
	}
	err = each(ctx, tx, "SELECT r.id,r.seg,b.ver,b.op,b.enc,b.doc FROM res r JOIN body b ON b.part=0 AND b.rid=r.rid WHERE r.part=0 AND r.type_no=? "+
		"AND b.ver=(SELECT MAX(v.ver) FROM body v WHERE v.part=0 AND v.rid=r.rid AND v.at<=?) ORDER BY r.rid", []any{typeNo, known}, func(r Rows) error {
		var id string
		var seg, ver, op, enc int64
		var doc []byte
		if err := r.Scan(&id, &seg, &ver, &op, &enc, &doc); err != nil || op == int64(Delete) {
			return err
		}
		sealed, err := s.decompress(enc, doc)
		if err != nil {
			return err
		}
		root, err := fhir.ParseJSON(sealed.Doc)
		if err != nil {
			return err
		}
		if a, ok := agreement(root, s.base); ok && (s.custodian(seg) == a.Of || s.custodian(seg) == access.OperatorID) {
			a.Source = fmt.Sprintf("%s/%s/_history/%d", AgreementType, id, ver)
			t.Agreements = append(t.Agreements, a)
		}
		return nil
	})
	return t, err
}

// agreement reads an agreement. One whose ends, parties or kind cannot be read is none.
func agreement(root fhir.Node, base string) (access.Agreement, bool) {
	var a access.Agreement
	if root.Get("active").Kind != 't' {
		return a, false
	}
	of, ok := fhir.ParseReference(root.Path("organization", "reference").Text(), base)
	with, also := fhir.ParseReference(root.Path("participatingOrganization", "reference").Text(), base)
	if !ok || !also || of.Type != "Organization" || with.Type != "Organization" {
		return a, false
	}
	a.Of, a.With = of.ID, with.ID
	for _, code := range root.Get("code").List() {
		for _, coding := range code.Get("coding").List() {
			if coding.Get("system").Text() == SystemAgreement {
				a.Kind = access.AgreementKind(coding.Get("code").Text())
			}
		}
	}
	for _, ext := range root.Get("extension").List() {
		switch ext.Get("url").Text() {
		case ExtAgreementPurpose:
			a.Purposes = append(a.Purposes, ext.Get("valueCode").Text())
		case ExtAgreementCopies:
			a.Copies = ext.Get("valueBoolean").Kind == 't'
		}
	}
	for _, end := range []struct {
		node fhir.Node
		set  func(search.Range)
	}{
		{root.Path("period", "start"), func(r search.Range) { a.From = time.UnixMicro(r.Lo).UTC() }},
		{root.Path("period", "end"), func(r search.Range) { a.To = time.UnixMicro(r.Hi).UTC() }},
	} {
		if end.node.IsZero() {
			continue
		}
		span, err := search.ParseDate(end.node.Text())
		if err != nil {
			return a, false
		}
		end.set(span)
	}
	return a, access.KnownAgreement(a.Kind)
}

// Filter is what a principal may see now.
func (s *Store) Filter(ctx context.Context, p access.Principal) (access.Filter, error) {
	segments, err := s.Segments(ctx)
	if err != nil {
		return access.Filter{}, err
	}
	terms, err := s.Terms(ctx)
	if err != nil {
		return access.Filter{}, err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return access.Filter{}, err
	}
	return access.Partition(p, segments, terms, now), nil
}

// settingPolicy names the rules the grants were computed by; settingStale says that they have to be computed anew.
const (
	settingPolicy = "grants.policy"
	settingStale  = "grants.stale"
)

// RefreshGrants computes all grants anew when they were computed by other rules than today's, or when an agreement changed
// and that was interrupted.
func (s *Store) RefreshGrants(ctx context.Context) error {
	if _, err := s.Terms(ctx); err != nil {
		return err
	}
	policy := s.knownTerms().Rules.Policy()
	kept, _, err := s.Setting(ctx, settingPolicy)
	if err != nil {
		return err
	}
	stale, _, err := s.Setting(ctx, settingStale)
	if err != nil || string(kept) == policy && len(stale) == 0 {
		return err
	}
	if err := s.MaterializeAll(ctx); err != nil {
		return err
	}
	if err := s.PutSetting(ctx, settingStale, []byte{}); err != nil {
		return err
	}
	return s.PutSetting(ctx, settingPolicy, []byte(policy))
}

// noteAgreement marks with whom an agreement is changed, where it says something else than the one that stands.
func (w *writer) noteAgreement(typ string, next *fhir.Resource, h *head) error {
	if typ != AgreementType {
		return nil
	}
	var was, is access.Agreement
	var stood, stands bool
	if h.found() && !h.deleted {
		sealed, err := w.stored(*h)
		if err != nil {
			return err
		}
		root, err := fhir.ParseJSON(sealed.Doc)
		if err != nil {
			return err
		}
		was, stood = agreement(root, w.s.base)
	}
	if next != nil {
		is, stands = agreement(next.Root, w.s.base)
	}
	if stood == stands && reflect.DeepEqual(was, is) {
		return nil
	}
	if stood {
		w.agreed[was.With] = true
	}
	if stands {
		w.agreed[is.With] = true
	}
	return nil
}

// agreed follows a committed change of agreements with some organisations: grants that rest on them are computed anew, first
// for the patients of whom those organisations have any. It goes on when who asked for it has gone; what is interrupted is
// taken up by KeepGrants. The release gate decides by the agreements themselves meanwhile.
func (s *Store) agreed(ctx context.Context, with map[string]bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	s.terms.read.Store(0)
	for organization := range with {
		err := s.materializeThose(ctx, "SELECT DISTINCT g.pat FROM grants g JOIN dict d ON d.kind=? AND d.no=g.org AND d.name=? WHERE g.part=0 AND g.rto=?", int64(dictOrg), organization, int64(forever))
		if err != nil {
			return err
		}
	}
	return s.RefreshGrants(ctx)
}

// KeepGrants takes up, until ctx ends, what was interrupted of computing grants anew.
func (s *Store) KeepGrants(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.RefreshGrants(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
	}
}
