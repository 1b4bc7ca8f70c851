package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"trellis/fhir/search"
	"trellis/gateway/store"
)

// TestReindex: a database whose index another version made is not served; the command makes the index anew, also when it
// was interrupted, and not while a server runs.
func TestReindex(t *testing.T) {
	onEachStore(t, func(t *testing.T, where location) {
		in := newInstallation(t, where, "")
		in.load("K1")
		if a := in.as("operator-loader", "").plain("PUT", "SearchParameter/words", custom("words", "words", "Condition.code.text", "active")); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		in.index(in.gateway.indexer)
		ctx := context.Background()
		set := func(name, value string) {
			t.Helper()
			if err := in.gateway.store.PutSetting(ctx, name, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		registry, err := search.New()
		if err != nil {
			t.Fatal(err)
		}
		tool, err := where.open(ctx, in.gateway.base, registry, in.clock.now)
		if err != nil {
			t.Fatal(err)
		}
		rebuild := func() {
			t.Helper()
			var done, total int64
			if err := tool.RebuildIndex(ctx, func(d, n int64) { done, total = d, n }); err != nil {
				t.Fatal(err)
			}
			if done == 0 || done != total {
				t.Errorf("%d of %d reported", done, total)
			}
			in.checkIndex()
			if err := tool.CheckIndexVersion(ctx); err != nil {
				t.Error(err)
			}
		}
		set("index.version", "0")
		if err := tool.CheckIndexVersion(ctx); !errors.Is(err, store.ErrIndex) || !strings.Contains(err.Error(), "trellis migrate reindex") {
			t.Errorf("another version's index: %v", err)
		}
		in.statement("DELETE FROM idx_token")
		rebuild()
		// Killed in the middle: what was made stands, and what is made twice is there once.
		set("index.version", "rebuilding")
		set("index.rebuild", "0")
		if err := tool.CheckIndexVersion(ctx); !errors.Is(err, store.ErrIndex) {
			t.Errorf("half an index: %v", err)
		}
		rebuild()
		if _, err := in.gateway.sequencer.Step(ctx); err != nil { // takes the lease a server holds
			t.Fatal(err)
		}
		if err := tool.RebuildIndex(ctx, func(_, _ int64) {}); !errors.Is(err, store.ErrServing) {
			t.Errorf("under a running server: %v", err)
		}
		if err := tool.Close(); err != nil {
			t.Error(err)
		}
		var out bytes.Buffer
		if code := runMigrate([]string{"everything"}, &out, &out); code != 2 || !strings.Contains(out.String(), "reindex") {
			t.Errorf("%d %s", code, out.String())
		}
	})
}
