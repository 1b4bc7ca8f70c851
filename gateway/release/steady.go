package release

import (
	"context"

	"trellis/auth/access"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// Unmodified reports that the client holds these bytes already; there is no body.
func (r *Released) Unmodified() bool { return r.unmodified }

// ContentType is the media type of raw bytes, "" when the body is FHIR.
func (r *Released) ContentType() string { return r.contentType }

// steady reports whether a version and the labels it was written with alone make the bytes that are released. What
// goes out under a consent carries its scope, which changes without the record; and a reference that is cut today may
// have been whole yesterday.
func steady(row *store.Row, d access.Decision, to access.Filter) bool {
	if row.Relabelled {
		return false
	}
	if whole(d, to) {
		return true
	}
	for _, o := range d.Obligations {
		if o.Code == access.ObligeNotice {
			return false
		}
	}
	for _, ref := range row.Sealed().Refs {
		if store.Askable(ref) {
			return false
		}
	}
	return true
}

// notModified logs that a client may go on with the version it holds. No bytes go out, so none are named.
func (g *Gate) notModified(ctx context.Context, req Request, row *store.Row, s store.Subject, d access.Decision) (*Released, error) {
	now, err := g.Records.Now(ctx)
	if err != nil {
		return nil, err
	}
	ev := g.event(req, audit.Disclosure, now)
	ev.Outcome = "not-modified"
	if err := g.append(ctx, withSubject(ev, s, d, row)...); err != nil {
		return nil, err
	}
	return &Released{version: row.Version, updated: row.Updated, unmodified: true}, nil
}
