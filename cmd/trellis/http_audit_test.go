package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"trellis/auth/access"
	"trellis/gateway/audit"
	"trellis/gateway/audit/verify"
	"trellis/gateway/release"
	"trellis/gateway/store"
)

// events reads the whole audit log, numbered or not.
func (in *installation) events() []audit.Event {
	in.t.Helper()
	ctx := context.Background()
	snap, err := in.gateway.store.Audit().Snapshot(ctx)
	if err != nil {
		in.t.Fatal(err)
	}
	defer func() { // a snapshot left open would hold up the restoring of a broken log
		if err := snap.Close(); err != nil {
			in.t.Error(err)
		}
	}()
	var out []audit.Event
	read := func(l audit.Leaf, err error) {
		if err != nil {
			in.t.Fatal(err)
		}
		events, read := in.decoded[l.ID]
		if !read {
			if events, err = audit.Events(l.Event); err != nil {
				in.t.Fatal(err)
			}
			in.decoded[l.ID] = events
		}
		out = append(out, events...)
	}
	for l, err := range snap.Leaves(ctx) {
		read(l.Leaf, err)
	}
	for l, err := range snap.Unnumbered(ctx) {
		read(l, err)
	}
	return out
}

// eventsOf lists the events an answer left.
func (in *installation) eventsOf(a reply) []audit.Event {
	in.t.Helper()
	var out []audit.Event
	for _, e := range in.events() {
		if e.Request == a.header.Get("X-Request-Id") {
			out = append(out, e)
		}
	}
	return out
}

// decisionsOf reads an event's decisions: one, or one for each kind of record in a set.
func decisionsOf(t testing.TB, e audit.Event) []access.Decision {
	t.Helper()
	if len(e.Decision) == 0 {
		return nil
	}
	var list []access.Decision
	if e.Decision[0] != '[' {
		list = make([]access.Decision, 1)
		if err := json.Unmarshal(e.Decision, &list[0]); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if err := json.Unmarshal(e.Decision, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// verifyAuditLog numbers what waits, exports the log and verifies the export as an auditor would: with the
// public key alone.
func (in *installation) verifyAuditLog() {
	in.t.Helper()
	ctx := context.Background()
	for n := 1; n > 0; { // a step takes one batch
		var err error
		if n, err = in.gateway.sequencer.Step(ctx); err != nil {
			in.t.Fatal(err)
		}
	}
	var file bytes.Buffer
	if _, err := audit.Export(ctx, in.gateway.store.Audit(), auditOrigin, &file); err != nil {
		in.t.Fatal(err)
	}
	key, err := note.NewVerifier(in.gateway.auditKey)
	if err != nil {
		in.t.Fatal(err)
	}
	report, err := verify.Verify(bytes.NewReader(file.Bytes()), verify.Options{Keys: []note.Verifier{key}})
	if err != nil {
		in.t.Fatal(err)
	}
	if !report.OK() || report.Rows == 0 || report.Unnumbered != 0 {
		in.t.Errorf("the audit log is not intact: %d rows, %d unnumbered, %v", report.Rows, report.Unnumbered, report.Findings)
	}
	if in.replayable {
		in.replayDecisions(file.Bytes())
	}
}

// replayDecisions makes every decision of an export anew: each has to be the logged one.
func (in *installation) replayDecisions(export []byte) {
	in.t.Helper()
	r, err := replay(context.Background(), in.gateway.store, bytes.NewReader(export), func(int) {})
	if err != nil {
		in.t.Fatal(err)
	}
	for _, text := range r.Differ {
		in.t.Errorf("replay: %s", text)
	}
	rules, err := access.Rules()
	if err != nil {
		in.t.Fatal(err)
	}
	for _, e := range in.events() {
		for _, d := range decisionsOf(in.t, e) {
			for _, reason := range d.Reasons {
				if reason.Section == "" || !slices.ContainsFunc(rules, func(rule access.Rule) bool { return rule.ID == reason.Rule }) {
					in.t.Errorf("a decision rests on %+v, which names no section or no rule of the table", reason)
				}
			}
		}
	}
	if r.Skipped[release.SkipRules]+r.Skipped[release.SkipErased]+r.Erased > 0 {
		in.t.Errorf("replay: %+v", r)
	}
}

// breakAuditLog takes the log's table away, so that the database refuses every entry, and waits until the store refuses
// them too: what is in its spool by then is durable. restore brings the table back.
func (in *installation) breakAuditLog() {
	in.t.Helper()
	in.statement("ALTER TABLE audit_pack RENAME TO audit_pack_away")
	log := in.gateway.store.Audit()
	for refused := false; !refused; {
		leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Admin, At: in.clock.now()})
		if err != nil {
			in.t.Fatal(err)
		}
		refused = log.Append(in.t.Context(), leaf) != nil
		if _, err := log.Unnumbered(in.t.Context(), 1); err == nil {
			in.t.Fatal("a log without its table is read")
		}
	}
	in.restore = func() {
		in.restore = func() {}
		in.statement("ALTER TABLE audit_pack_away RENAME TO audit_pack")
	}
}

// takeAway makes a table unreadable until restore.
func (in *installation) takeAway(table string) {
	in.t.Helper()
	in.statement("ALTER TABLE " + table + " RENAME TO " + table + "_away")
	in.restore = func() {
		in.restore = func() {}
		in.statement("ALTER TABLE " + table + "_away RENAME TO " + table)
	}
}

// statement runs SQL on a connection of its own.
func (in *installation) statement(sql string) {
	in.t.Helper()
	in.database(func(ctx context.Context, e store.Engine) error {
		return e.Write(ctx, func(tx store.Tx) error {
			_, err := tx.Exec(ctx, sql)
			return err
		})
	})
}

func (in *installation) database(fn func(context.Context, store.Engine) error) {
	in.t.Helper()
	ctx := context.Background()
	e, err := in.where.engine(ctx)
	if err != nil {
		in.t.Fatal(err)
	}
	if err := fn(ctx, e); err != nil {
		in.t.Error(err)
	}
	if err := e.Close(); err != nil {
		in.t.Error(err)
	}
}

// stored counts resources, versions and index rows: what a refused request must leave as it was.
func (in *installation) stored() map[string]int64 {
	in.t.Helper()
	out := map[string]int64{}
	in.database(func(ctx context.Context, e store.Engine) error {
		return e.Read(ctx, func(tx store.Tx) error {
			for _, table := range []string{"res", "body", "idx_token", "idx_ref", "grants", "delivery"} {
				rows, err := tx.Query(ctx, "SELECT COUNT(*) FROM "+table)
				if err != nil {
					return err
				}
				var n int64
				for rows.Next() {
					if err := rows.Scan(&n); err != nil {
						return err
					}
				}
				rows.Close()
				out[table] = n
			}
			return nil
		})
	})
	return out
}
