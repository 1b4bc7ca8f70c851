// Package preview says what a Consent would change before anybody signs it: which organisation would see how many more, or
// fewer, of the patient's records, for which purpose. It asks the decision (auth/access) about every record the recorder
// holds, with the instrument and without it, and stores nothing.
//
// It counts records of the recorder's own about this patient alone: for others an instrument does not speak.
package preview

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"trellis/auth/access"
	"trellis/auth/consent"
	"trellis/auth/label"
	"trellis/gateway/store"
)

// Preview is what an instrument would change.
type Preview struct {
	Recorder  string             `json:"recorder"`
	Changes   []Change           `json:"changes"`
	Missing   []consent.Element  `json:"missing,omitempty"`   // it would permit nothing while it lacks them
	Conflicts []consent.Conflict `json:"conflicts,omitempty"` // with instruments on file
}

// Change is what one organisation would see for one purpose, compared to now.
type Change struct {
	Organization string  `json:"organization"` // its id
	Name         string  `json:"name"`
	Purpose      string  `json:"purpose"`
	Gains        []Count `json:"gains,omitempty"`
	Loses        []Count `json:"loses,omitempty"`
}

// Count is a number of records of a type with the same labels.
type Count struct {
	Type   string   `json:"type"`
	Labels []string `json:"labels,omitempty"`
	Count  int      `json:"count"`
}

// Records is what a preview reads.
type Records interface {
	Standing(ctx context.Context, patient string, known time.Time) (store.Standing, error)
	Holdings(ctx context.Context, organization, patient string, wanted []string) ([]store.Holding, error)
	Actors(ctx context.Context) ([]access.Actor, error)
	Now(ctx context.Context) (time.Time, error)
}

// Of compares the decisions with an instrument, as if recorder had recorded it now, with those without it. One that replaces a
// version on file is compared with that.
func Of(ctx context.Context, records Records, recorder access.Organization, c consent.Consent) (Preview, error) {
	c.Recorder, c.Everywhere = recorder.ID, recorder.ID == access.OperatorID
	out := Preview{Recorder: recorder.ID, Missing: c.Validate(), Changes: []Change{}}
	now, err := records.Now(ctx)
	if err != nil {
		return out, err
	}
	standing, err := records.Standing(ctx, c.Patient.ID, time.Time{})
	if err != nil {
		return out, err
	}
	before := standing.Facts
	after := before
	after.Consents = append(slices.DeleteFunc(slices.Clone(before.Consents), func(o consent.Consent) bool { return o.ID == c.ID && o.Recorder == c.Recorder }), c)
	out.Conflicts = consent.Conflicts(c, before.Consents, now)
	held, err := records.Holdings(ctx, recorder.ID, c.Patient.ID, consent.Mentioned(after.Consents))
	if err != nil {
		return out, err
	}
	actors, err := records.Actors(ctx)
	if err != nil {
		return out, err
	}
	at := now
	if c.From.After(now) { // from when it would hold
		at = c.From
	}
	for _, a := range actors {
		for _, purpose := range a.Purposes {
			change := Change{Organization: a.Organization.ID, Name: a.Organization.Name, Purpose: purpose}
			for _, h := range held {
				ask := access.Request{Principal: access.Principal{Organization: a.Organization, Purpose: purpose}, Segment: h.Segment, ResourceType: h.Type,
					Patient: c.Patient.ID, Period: h.Period, Facts: before, Terms: standing.Terms, Now: at}
				was := access.Decide(ask).Effect
				ask.Facts = after
				switch is := access.Decide(ask).Effect; {
				case is == access.Permit && was != access.Permit:
					change.Gains = add(change.Gains, h)
				case is != access.Permit && was == access.Permit:
					change.Loses = add(change.Loses, h)
				}
			}
			if len(change.Gains)+len(change.Loses) > 0 {
				out.Changes = append(out.Changes, change.sorted())
			}
		}
	}
	slices.SortFunc(out.Changes, func(x, y Change) int {
		return strings.Compare(x.Name+"\x00"+x.Organization+"\x00"+x.Purpose, y.Name+"\x00"+y.Organization+"\x00"+y.Purpose)
	})
	return out, nil
}

// add counts a holding with those of its type and labels.
func add(list []Count, h store.Holding) []Count {
	c := Count{Type: h.Type, Labels: labels(h.Segment), Count: h.Count}
	i := slices.IndexFunc(list, func(o Count) bool { return o.Type == c.Type && slices.Equal(o.Labels, c.Labels) })
	if i < 0 {
		return append(list, c)
	}
	list[i].Count += c.Count
	return list
}

// labels are the codes a record is labelled with.
func labels(s label.Segment) []string {
	var out []string
	for _, l := range s.Security() {
		out = append(out, l.Code)
	}
	return out
}

func (c Change) sorted() Change {
	for _, list := range [][]Count{c.Gains, c.Loses} {
		slices.SortFunc(list, func(x, y Count) int {
			return strings.Compare(x.Type+" "+strings.Join(x.Labels, " "), y.Type+" "+strings.Join(y.Labels, " "))
		})
	}
	return c
}

// Text is the preview in plain words, a line for each thing said.
func (p Preview) Text() []string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, c.Name+", for "+inWords(c.Purpose)+": "+sees("would see", "more", "it does not see now", c.Gains)+"; "+sees("would no longer see", "", "it sees now", c.Loses)+".")
	}
	if len(p.Changes) == 0 {
		out = append(out, "Nobody would see more or less than now.")
	}
	for _, e := range p.Missing {
		out = append(out, "It lacks "+e.Text+" ("+e.Section+"), and permits nothing without.")
	}
	for _, c := range p.Conflicts {
		out = append(out, "It conflicts with Consent/"+c.Consent+": "+c.Text+".")
	}
	return out
}

// sees is one half of a line.
func sees(verb, more, than string, list []Count) string {
	total, kinds := 0, []string{}
	for _, c := range list {
		total += c.Count
		kind := fmt.Sprintf("%d %s", c.Count, c.Type)
		if len(c.Labels) > 0 {
			kind += " labelled " + strings.Join(c.Labels, " ")
		}
		kinds = append(kinds, kind)
	}
	switch {
	case total == 0 && more == "":
		return "loses none"
	case total == 0:
		return "gains none"
	}
	noun := "records"
	if total == 1 {
		noun = "record"
	}
	if more != "" {
		noun = more + " " + noun
	}
	return fmt.Sprintf("%s %d %s (%s) %s", verb, total, noun, strings.Join(kinds, ", "), than)
}

// inWords says a purpose as people do, where there is a word for it.
func inWords(purpose string) string {
	words := map[string]string{"TREAT": "treatment", "COC": "coordination of care", "HPAYMT": "payment", "HOPERAT": "health care operations", "HLEGAL": "legal proceedings", "HMARKT": "marketing", "HRESCH": "research", "PUBHLTH": "public health"}
	if word := words[purpose]; word != "" {
		return word
	}
	return purpose
}
