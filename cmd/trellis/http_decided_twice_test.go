package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"trellis/auth/access"
	"trellis/fhir/search"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// TestReleaseDecidesAgain hands the gate rows that the caller's filter would never have let through, as a fault in the
// query would: what the program sees, for the hospital. Nothing of it may go out by any door.
func TestReleaseDecidesAgain(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load()
		ctx := t.Context()
		as := func(id, purpose string) (access.Principal, access.Filter) {
			org, err := in.gateway.store.Organization(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			p := access.Principal{Client: id, Organization: org, Purpose: purpose}
			f, err := in.gateway.store.Filter(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			return p, f
		}
		_, wide := as("otp", "TREAT")
		hospital, narrow := as("hospital", "TREAT")
		// The log is free of what the gate would say about the fault: it is there on purpose.
		gate := &release.Gate{Records: in.gateway.store, Log: in.gateway.store.Audit(), Base: in.gateway.base, Logger: slog.New(slog.DiscardHandler)}
		req := release.Request{Principal: hospital, Filter: narrow, Interaction: "test", RequestID: "test"}

		registry := in.gateway.registry
		q, err := registry.Parse("Condition", map[string][]string{"patient": {"P1"}}, in.gateway.base)
		if err != nil {
			t.Fatal(err)
		}
		rows := seen(t, in, wide, q)
		if len(rows) != 3 {
			t.Fatalf("%d rows", len(rows))
		}
		set, err := gate.Bundle(ctx, req, release.Set{Type: "searchset", Rows: rows})
		if err != nil || strings.Contains(string(set.Body()), "F11.20") || !strings.Contains(string(set.Body()), "I10") || strings.Contains(string(set.Body()), "X1") {
			t.Errorf("a set: %v %s", err, set.Body())
		}
		lines, err := gate.Lines(ctx, req, rows, func(string) []string { return nil })
		if err != nil || len(lines.Lines) != 1 || strings.Contains(string(lines.Lines[0].Body), "F11.20") {
			t.Errorf("a bulk page: %v %+v", err, lines)
		}
		target, err := in.gateway.store.Lookup(ctx, wide, "Condition", "C1", 0)
		if err != nil || !target.Visible {
			t.Fatalf("%v %v", err, target.Visible)
		}
		var denied *release.Denied
		if _, err := gate.Resource(ctx, req, target); !errors.As(err, &denied) || denied.Decision.Code != "NO_CONSENT" {
			t.Errorf("a read: %v", err)
		}
	})
}

func seen(t *testing.T, in *installation, f access.Filter, q *search.Query) []store.Row {
	t.Helper()
	page, err := in.gateway.store.Search(t.Context(), f, q, nil)
	if err != nil {
		t.Fatal(err)
	}
	return page.Rows
}
