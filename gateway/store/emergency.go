package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"trellis/auth/access"
	"trellis/fhir"
	"trellis/gateway/audit"
)

// Emergency is a declared medical emergency with the facts 42 CFR 2.51(c) asks for, and its review.
type Emergency struct {
	ID           string    `json:"id"`
	Client       string    `json:"client"`
	User         string    `json:"user,omitempty"` // account; "" for a client acting for itself
	Organization string    `json:"organization"`
	Patient      string    `json:"patient"` // Patient id, known here or not
	Declared     time.Time `json:"declared"`
	Until        time.Time `json:"until"`
	Recipient    string    `json:"recipient"`   // medical personnel it is disclosed to
	Affiliation  string    `json:"affiliation"` // with which facility
	Discloser    string    `json:"discloser"`   // who discloses
	Nature       string    `json:"nature"`      // of the emergency
	Review       *Review   `json:"review,omitempty"`
}

// Review is what a second person found.
type Review struct {
	By          string    `json:"by"` // account id
	At          time.Time `json:"at"`
	Appropriate bool      `json:"appropriate"`
	Note        string    `json:"note,omitempty"`
}

// holder is who may use a declaration: the client, in the hands of the user, for the organisation.
func (e Emergency) holder() string { return e.Client + "\n" + e.User + "\n" + e.Organization }

// Access is the emergency as decisions know it.
func (e Emergency) Access() access.Emergency {
	return access.Emergency{ID: e.ID, Patient: e.Patient, From: e.Declared.UnixMicro(), Until: e.Until.UnixMicro()}
}

// Errors of reviews.
var (
	ErrReviewed = errors.New("store: the emergency has been reviewed")
	ErrSelf     = errors.New("store: an emergency is reviewed by somebody else than who declared it")
)

// Declare keeps an emergency. An earlier one of the same holder ends: an emergency is of one patient. document makes the
// entries into the patient's record, one for each custodian that holds Part 2 records of the patient; it may be called again.
// finish is as for Apply.
func (s *Store) Declare(ctx context.Context, e Emergency, document func(custodians []string) ([]Change, error), finish func([]Written) (Commit, error)) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("store: emergency: %w", err)
	}
	if err := s.reserveRowKeys(ctx, 64); err != nil {
		return err
	}
	return s.write(ctx, func(w *writer) error {
		if err := w.endEmergencies(e); err != nil {
			return err
		}
		_, err := w.tx.Exec(ctx, "INSERT INTO emergency (id,holder,patient,declared,until,reviewed,body) VALUES (?,?,?,?,?,0,?)",
			e.ID, e.holder(), e.Patient, e.Declared.UnixMicro(), e.Until.UnixMicro(), string(body))
		if err != nil {
			return err
		}
		custodians, err := w.custodians(e.Patient)
		if err != nil {
			return err
		}
		changes, err := document(custodians)
		if err != nil {
			return err
		}
		_, err = w.apply(changes, finish)
		return err
	})
}

func (w *writer) endEmergencies(next Emergency) error {
	var standing []Emergency
	err := each(w.ctx, w.tx, "SELECT body FROM emergency WHERE holder=? AND until>?", []any{next.holder(), next.Declared.UnixMicro()}, func(r Rows) error {
		return appendJSON(r, &standing)
	})
	if err != nil {
		return err
	}
	for _, e := range standing {
		e.Until = next.Declared
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		if _, err := w.tx.Exec(w.ctx, "UPDATE emergency SET until=?,body=? WHERE id=?", e.Until.UnixMicro(), string(body), e.ID); err != nil {
			return err
		}
	}
	return nil
}

// appendJSON adds a row's one text column, which is JSON, to a list.
func appendJSON[T any](r Rows, list *[]T) error {
	var body string
	if err := r.Scan(&body); err != nil {
		return err
	}
	var one T
	if err := json.Unmarshal([]byte(body), &one); err != nil {
		return err
	}
	*list = append(*list, one)
	return nil
}

// custodians lists the organisations that hold records of a patient under Part 2, sorted; none of an unknown one. Others'
// records do not tell that there are any.
func (w *writer) custodians(patient string) ([]string, error) {
	pat, err := w.s.lookupKey(w.ctx, w.tx, fhir.Reference{Type: "Patient", ID: patient})
	if err != nil {
		return nil, err
	}
	segments, err := w.patientSegments(pat)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range segments {
		if n.Segment.Part2 && !slices.Contains(out, n.Segment.Custodian) {
			out = append(out, n.Segment.Custodian)
		}
	}
	slices.Sort(out)
	return out, nil
}

// LastEmergency is the emergency a client and user declared last for an organisation, over or not; ok is false for none.
func (s *Store) LastEmergency(ctx context.Context, client, user, organization string) (e Emergency, ok bool, err error) {
	now, err := s.now(ctx)
	if err != nil {
		return e, false, err
	}
	var found []Emergency
	err = s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT body FROM emergency WHERE holder=? AND declared<=? ORDER BY declared DESC LIMIT 1", []any{Emergency{Client: client, User: user, Organization: organization}.holder(), now}, func(r Rows) error {
			return appendJSON(r, &found)
		})
	})
	if err != nil || len(found) == 0 {
		return e, false, err
	}
	return found[0], true, nil
}

// Emergencies lists declared emergencies, the oldest first: those nobody reviewed, or all.
func (s *Store) Emergencies(ctx context.Context, all bool) (out []Emergency, err error) {
	where := " WHERE reviewed=0"
	if all {
		where = ""
	}
	err = s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT body FROM emergency"+where+" ORDER BY declared,id", nil, func(r Rows) error { return appendJSON(r, &out) })
	})
	return out, err
}

// Emergency finds a declaration; ErrNotFound.
func (s *Store) Emergency(ctx context.Context, id string) (Emergency, error) {
	var found []Emergency
	err := s.engine.Read(ctx, func(tx Tx) error {
		return each(ctx, tx, "SELECT body FROM emergency WHERE id=?", []any{id}, func(r Rows) error { return appendJSON(r, &found) })
	})
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return Emergency{}, err
	}
	return found[0], nil
}

// ReviewEmergency closes a declaration, once, by somebody else than who declared it, with its audit leaf.
func (s *Store) ReviewEmergency(ctx context.Context, id string, review Review, leaf func(Emergency) (audit.Leaf, error)) error {
	return s.write(ctx, func(w *writer) error {
		var found []Emergency
		err := each(ctx, w.tx, "SELECT body FROM emergency WHERE id=?", []any{id}, func(r Rows) error { return appendJSON(r, &found) })
		if err != nil {
			return err
		}
		switch {
		case len(found) == 0:
			return ErrNotFound
		case found[0].Review != nil:
			return ErrReviewed
		case found[0].User != "" && found[0].User == review.By:
			return ErrSelf
		}
		e := found[0]
		e.Review = &review
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		n, err := w.tx.Exec(ctx, "UPDATE emergency SET reviewed=?,body=? WHERE id=? AND reviewed=0", review.At.UnixMicro(), string(body), id)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrReviewed
		}
		l, err := leaf(e)
		if err != nil {
			return err
		}
		return w.insertLeaves([]audit.Leaf{l})
	})
}
