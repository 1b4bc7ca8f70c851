package login

import (
	"errors"

	"trellis/gateway/audit"
	"trellis/gateway/release"
)

// record puts what happens into the audit log, durably, before it holds: when it cannot, it does not happen.
func (v *visit) record(ev audit.Event) error {
	ev.At, ev.Request = v.now, v.request()
	leaf, err := audit.NewLeaf(ev)
	if err != nil {
		return errors.Join(release.ErrLog, err)
	}
	if err := v.s.Log.Append(v.ctx, leaf); err != nil {
		return errors.Join(release.ErrLog, err)
	}
	return nil
}

// signIn is the event of a step of signing in. user is empty for an account that does not exist; what was typed is not
// kept, since people type passwords into the wrong field.
func (v *visit) signIn(step, user, outcome, code string) error {
	ev := audit.Event{Kind: audit.Login, Interaction: step, User: user, Outcome: outcome}
	if code != "" {
		ev.Detail = map[string]string{"code": code}
	}
	return v.record(ev)
}
