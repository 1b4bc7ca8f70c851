package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/auth/smart"
	"trellis/fhir"
	"trellis/fhir/search"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// decideRoutes are the decisions others enforce: systems that hold records themselves ask whether they may give them away.
func (s *Server) decideRoutes() []route {
	return []route{
		{method: http.MethodPost, path: "/consent/decide", interaction: "decide", anyFormat: true, serve: (*call).decide},
		{method: http.MethodGet, path: "/cds-services", interaction: "cds-discovery", public: s.cdsServices},
		{method: http.MethodPost, path: "/cds-services/" + cdsService, interaction: "cds-consult", anyFormat: true, serve: (*call).consult},
	}
}

// maxQuestions bounds the decisions asked for in one request.
const maxQuestions = 1000

// question is one question to POST /consent/decide: may the caller's organisation disclose this to that actor.
type question struct {
	ID      string `json:"id,omitempty"`
	Patient string `json:"patient"` // Patient id
	Actor   string `json:"actor"`   // Organization id of who would receive
	Purpose string `json:"purpose"` // v3-ActReason code

	// What would be disclosed: a kind of record, by its labels; without labels all the caller's organisation holds here of
	// the patient.
	ResourceType    string        `json:"resourceType,omitempty"`
	Labels          []fhir.Coding `json:"labels,omitempty"`          // sensitivity and law, e.g. 42CFRPart2
	Confidentiality string        `json:"confidentiality,omitempty"` // v3-Confidentiality; what the labels need when absent
	Codes           []fhir.Coding `json:"codes,omitempty"`           // codings in the record, which consents may name
	Period          *struct {
		Start string `json:"start"`
		End   string `json:"end"`
	} `json:"period,omitempty"` // clinical time of the record

	// Custodian is whose record it is, where the caller received it from there, and HeldFor the purpose it was received for.
	Custodian string `json:"custodian,omitempty"`
	HeldFor   string `json:"heldFor,omitempty"`

	At time.Time `json:"at,omitzero"` // as of a past instant
}

// answer is a decision as POST /consent/decide gives it.
type answer struct {
	ID          string              `json:"id,omitempty"`
	Decision    string              `json:"decision"` // permit, deny, no-consent
	Basis       string              `json:"basis,omitempty"`
	Code        string              `json:"code"`
	Obligations []access.Obligation `json:"obligations,omitempty"`
	Redact      []fhir.Coding       `json:"redact,omitempty"` // records with any of these labels, types or codes stay back
	Consents    []string            `json:"consents,omitempty"`
	Reasons     []access.Reason     `json:"reasons"`
	Policy      string              `json:"policy"`
	EvaluatedAt time.Time           `json:"evaluatedAt"`
	ValidUntil  time.Time           `json:"validUntil,omitzero"` // ask again from then
}

// The three answers. no-consent is a denial for want of any instrument that permits, with none that refuses.
const (
	answerPermit    = "permit"
	answerDeny      = "deny"
	answerNoConsent = "no-consent"
)

// decide serves POST /consent/decide: {"requests":[question, ...]}, or one question alone. The caller's organisation is the
// discloser; the operator may name any. The token needs the right to read Consents.
func (k *call) decide() error {
	if err := k.allowAsSystem("Consent", smart.Read); err != nil {
		return err
	}
	data, err := k.body()
	if err != nil {
		return err
	}
	questions, single, err := readQuestions(data)
	if err != nil {
		return err
	}
	decider, err := k.newDecider()
	if err != nil {
		return err
	}
	answers := make([]answer, len(questions))
	for i, q := range questions {
		if answers[i], err = decider.answer(q); err != nil {
			if p, ok := err.(*fhir.Problem); ok && !single {
				p.Issues[0].Expression = fmt.Sprintf("requests[%d]", i)
			}
			return err
		}
	}
	var out any = map[string]any{"responses": answers}
	if single {
		out = answers[0]
	}
	return decider.reply(out)
}

func readQuestions(data []byte) (list []question, single bool, err error) {
	var body struct {
		Requests []question `json:"requests"`
		question
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return nil, false, fhir.NewProblem(fhir.Invalid, "structure", "the body is not {\"requests\":[...]} or one request; see the API's description of its members").Because(err)
	}
	if body.Requests == nil {
		return []question{body.question}, true, nil
	}
	if len(body.Requests) == 0 || len(body.Requests) > maxQuestions {
		return nil, false, fhir.NewProblem(fhir.TooLarge, "too-costly", fmt.Sprintf("one call takes 1 to %d requests", maxQuestions))
	}
	return body.Requests, false, nil
}

// decider decides for one request. It reads what is known of each patient once.
type decider struct {
	k        *call
	now      time.Time
	told     func(access.Facts) access.Facts // what the caller may be told
	orgs     map[string]access.Organization
	standing map[standingKey]store.Standing
	patients []string // in the order they were asked about
	given    map[string][]access.Decision
}

type standingKey struct {
	patient string
	at      time.Time
}

func (k *call) newDecider() (*decider, error) {
	now, err := k.s.Store.Now(k.ctx)
	if err != nil {
		return nil, err
	}
	told, err := k.told(k.caller.principal.Organization.ID)
	return &decider{k: k, now: now, told: told, orgs: map[string]access.Organization{}, standing: map[standingKey]store.Standing{}, given: map[string][]access.Decision{}}, err
}

func (j *decider) organization(id string) (access.Organization, error) {
	if o, ok := j.orgs[id]; ok {
		return o, nil
	}
	o, err := j.k.s.Store.Organization(j.k.ctx, id)
	if err == nil {
		j.orgs[id] = o
	}
	return o, err
}

func (j *decider) known(patient string, at time.Time) (store.Standing, error) {
	key := standingKey{patient, at}
	if s, ok := j.standing[key]; ok {
		return s, nil
	}
	s, err := j.k.s.Store.Standing(j.k.ctx, patient, at)
	if err == nil {
		j.standing[key] = s
	}
	return s, err
}

// request turns a question into one for access.Decide, without a segment.
func (j *decider) request(q question) (access.Request, store.Standing, error) {
	var r access.Request
	if !fhir.ValidID(q.Patient) || q.Actor == "" || q.Purpose == "" {
		return r, store.Standing{}, fhir.NewProblem(fhir.Invalid, "required", "patient, actor and purpose are required")
	}
	if q.ResourceType != "" && !fhir.KnownType(q.ResourceType) {
		return r, store.Standing{}, fhir.NewProblem(fhir.Invalid, "value", "resourceType is no R4 type")
	}
	caller := j.k.caller.principal.Organization
	actor, err := j.organization(q.Actor)
	if err != nil {
		return r, store.Standing{}, err
	}
	known, err := j.known(q.Patient, q.At)
	if err != nil {
		return r, known, err
	}
	holds := q.Custodian != "" && q.Custodian != caller.ID && caller.Class != access.OperatorClass
	if holds && q.HeldFor != j.k.caller.principal.Purpose {
		return r, known, fhir.NewProblem(fhir.Invalid, "value", "heldFor has to be the purpose of the token: whether the record may be held for another is not told")
	}
	if !holds && caller.Class != access.OperatorClass {
		known.Facts = j.told(known.Facts)
	}
	r = access.Request{Principal: access.Principal{Organization: actor, Purpose: q.Purpose}, ResourceType: q.ResourceType, Patient: q.Patient,
		Facts: known.Facts, Terms: known.Terms, Now: j.now, Period: consent.Period{Lo: search.OpenLo, Hi: search.OpenHi}}
	if !q.At.IsZero() {
		r.Now = q.At.UTC()
	}
	if q.Period != nil {
		if r.Period, err = clinical(q.Period.Start, q.Period.End); err != nil {
			return r, known, err
		}
	}
	r.Segment.Custodian = caller.ID
	switch {
	case q.Custodian != "" && caller.Class == access.OperatorClass:
		r.Segment.Custodian = q.Custodian
	case holds:
		r.Segment.Custodian, r.Holder, r.HeldFor = q.Custodian, caller, q.HeldFor
	}
	return r, known, nil
}

// told is what of the facts about a patient an organisation that asks may be told (2.13(c)).
func (k *call) told(organization string) (func(access.Facts) access.Facts, error) {
	orgs, err := k.s.Store.Organizations(k.ctx)
	if err != nil {
		return nil, err
	}
	program := func(id string) bool {
		i := slices.IndexFunc(orgs, func(o access.Organization) bool { return o.ID == id })
		return i < 0 || orgs[i].Part2() // one that is not known may be
	}
	return func(f access.Facts) access.Facts { return f.ToldTo(organization, program) }, nil
}

func clinical(start, end string) (consent.Period, error) {
	p := consent.Period{Lo: search.OpenLo, Hi: search.OpenHi}
	for _, edge := range []struct {
		text string
		set  func(search.Range)
	}{{start, func(r search.Range) { p.Lo = r.Lo }}, {end, func(r search.Range) { p.Hi = r.Hi }}} {
		if edge.text == "" {
			continue
		}
		span, err := search.ParseDate(edge.text)
		if err != nil {
			return p, fhir.NewProblem(fhir.Invalid, "value", "period has no dates that can be read")
		}
		edge.set(span)
	}
	return p, nil
}

// segments lists what a question is about: the record it describes, or all its custodian holds here of the patient.
func (j *decider) segments(q question, r access.Request, known store.Standing) ([]label.Segment, error) {
	custodian, err := j.organization(r.Segment.Custodian)
	if err != nil {
		return nil, err
	}
	if len(q.Labels) == 0 && len(q.Codes) == 0 && r.Holder.ID == "" {
		var out []label.Segment
		for _, n := range known.Segments {
			if n.Segment.Custodian == custodian.ID && !n.Segment.Directory {
				out = append(out, n.Segment)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	segment := label.Describe(custodian.Source(), q.Labels, q.Confidentiality)
	var marks []string
	for _, m := range consent.Mentioned(known.Facts.Consents) {
		if slices.ContainsFunc(q.Codes, func(c fhir.Coding) bool { return consent.CodeMark(c) == m }) {
			marks = append(marks, m)
		}
	}
	return []label.Segment{segment.Marked(marks)}, nil
}

// answer decides a question. Where it leaves open which records, of which types and with which codes, all that are there or that
// consents tell apart are decided: it permits when any may go, names what marks those that stay, and denies when nothing marks
// them. What a permit obliges to is what any of them obliges to.
func (j *decider) answer(q question) (answer, error) {
	r, known, err := j.request(q)
	if err != nil {
		return answer{}, err
	}
	segments, err := j.segments(q, r, known)
	if err != nil {
		return answer{}, err
	}
	kinds := kindsOf(q, segments, known.Facts)
	for i := range kinds {
		r.Segment, r.ResourceType = kinds[i].segment, kinds[i].typ
		kinds[i].decision = access.Decide(r)
	}
	d := kinds[0].decision
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.decision.Effect == access.Permit }); i >= 0 {
		d = kinds[i].decision
	}
	a := answer{ID: q.ID, Decision: threefold(d), Basis: d.Basis, Code: d.Code, Reasons: d.Reasons, Policy: d.Policy, EvaluatedAt: d.EvaluatedAt}
	if d.Effect == access.Permit {
		a.ValidUntil = access.NextChange(known.Facts, known.Terms.With(q.Actor), r.Now)
		a.merge(kinds)
	}
	if j.given[q.Patient] == nil {
		j.patients = append(j.patients, q.Patient)
	}
	for _, k := range kinds {
		j.given[q.Patient] = append(j.given[q.Patient], k.decision)
	}
	return a, nil
}

// kind is a kind of record a question may be about, and what is decided about it. by is what tells it from others of its segment.
type kind struct {
	segment  label.Segment
	typ      string
	by       fhir.Coding
	decision access.Decision
}

// kindsOf lists the kinds a question leaves open, the plain ones first.
func kindsOf(q question, segments []label.Segment, facts access.Facts) []kind {
	types, marks := []string{q.ResourceType}, [][]string{nil}
	if q.ResourceType == "" {
		types = append(types, consent.MentionedTypes(facts.Consents)...)
	}
	if len(q.Codes) == 0 {
		for _, m := range consent.Mentioned(facts.Consents) {
			marks = append(marks, []string{m})
		}
	}
	var out []kind
	for _, m := range marks {
		for _, typ := range types {
			for _, s := range segments {
				k := kind{segment: s, typ: typ}
				switch {
				case m != nil && slices.Contains(s.Marks, m[0]):
					continue // decided as it is
				case m != nil:
					k.segment, k.by = s.Marked(m), fhir.Coding{System: fhir.LocalBase + "/CodeSystem/consent-mark", Code: m[0]}
				case typ != q.ResourceType:
					k.by = fhir.Coding{System: fhir.SystemResourceTypes, Code: typ}
				}
				out = append(out, k)
			}
		}
	}
	return out
}

// merge puts the decisions of a permit together.
func (a *answer) merge(kinds []kind) {
	for _, k := range kinds {
		if k.decision.Effect != access.Permit {
			continue
		}
		for _, o := range k.decision.Obligations {
			if !slices.Contains(a.Obligations, o) {
				a.Obligations = append(a.Obligations, o)
			}
		}
		for _, c := range k.decision.Consents {
			if !slices.Contains(a.Consents, c) {
				a.Consents = append(a.Consents, c)
			}
		}
	}
	for _, k := range kinds {
		if k.decision.Effect == access.Permit {
			continue
		}
		marks := staying(k, kinds)
		if len(marks) == 0 { // nothing a client could tell it by: none of it goes
			a.Decision, a.Basis, a.Code, a.Obligations, a.Consents, a.Redact = answerDeny, "", "INSEPARABLE", nil, nil, nil
			a.Reasons = k.decision.Reasons
			return
		}
		for _, m := range marks {
			if !slices.Contains(a.Redact, m) {
				a.Redact = append(a.Redact, m)
			}
		}
	}
}

// staying lists what tells a kind that stays from every one that goes: the type or code consents name, or its own labels.
func staying(stays kind, kinds []kind) []fhir.Coding {
	if stays.by != (fhir.Coding{}) {
		return []fhir.Coding{stays.by}
	}
	var out []fhir.Coding
	for _, l := range stays.segment.Security() {
		if !slices.ContainsFunc(kinds, func(k kind) bool {
			return k.decision.Effect == access.Permit && slices.Contains(k.segment.Security(), l)
		}) {
			out = append(out, l)
		}
	}
	return out
}

func threefold(d access.Decision) string {
	if d.Effect == access.Permit {
		return answerPermit
	}
	asked := func(r access.Reason) bool { return r.Rule == "consent" && r.Hit }
	if slices.ContainsFunc(d.Reasons, asked) || !slices.Contains([]string{"D1-part2-consent", "default", "C7-counseling-notes", "D6-no-order"}, d.Reasons[len(d.Reasons)-1].Rule) {
		return answerDeny
	}
	return answerNoConsent
}

// reply logs what was decided, one event for each patient, and answers.
func (j *decider) reply(out any) error {
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	p := j.k.caller.principal
	var events []audit.Event
	for _, patient := range j.patients {
		decision, err := json.Marshal(j.given[patient])
		if err != nil {
			return err
		}
		events = append(events, audit.Event{Kind: audit.Decision, At: j.now, Client: p.Client, Organization: p.Organization.ID, User: p.User, Capacity: string(p.Capacity), Purpose: p.Purpose,
			Patient: "Patient/" + patient, Interaction: j.k.req.Interaction, Request: j.k.req.RequestID, Token: j.k.req.TokenID, Outcome: "decided", Decision: decision,
			Released: audit.Digest(body), ReleasedBytes: int64(len(body))})
	}
	if err := j.k.s.Gate.Decided(j.k.ctx, events); err != nil {
		return err
	}
	j.k.s.send(j.k.c, http.StatusOK, "application/json; charset=utf-8", body)
	return nil
}
