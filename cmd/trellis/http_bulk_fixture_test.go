package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"trellis/gateway/audit"
	"trellis/gateway/store"
)

// bulkFiles is a manifest.
type bulkFiles struct {
	TransactionTime, Request string
	RequiresAccessToken      bool
	Output, Deleted, Error   []struct {
		Type, URL string
		Count     int
	}
}

// plain sends a request with a visitor's token; what holds for single answers does not hold for jobs.
func (v visitor) plain(method, path string, body []byte, header ...string) reply {
	v.in.t.Helper()
	h := map[string]string{"Authorization": "Bearer " + v.in.token(v.client, v.purpose, anyScope)}
	for i := 0; i+1 < len(header); i += 2 {
		h[header[i]] = header[i+1]
	}
	return v.in.send(request{method: method, path: path, body: body, header: h})
}

// export starts an export and returns where it is asked about.
func (v visitor) export(path string) string {
	v.in.t.Helper()
	a := v.plain("GET", path, nil, "Prefer", "respond-async")
	where := a.header.Get("Content-Location")
	if a.status != 202 || !strings.HasPrefix(where, strings.TrimSuffix(v.in.gateway.base, "/fhir")+"/bulk/") {
		v.in.t.Fatalf("%s: %d %v %s", path, a.status, a.header, a.body)
	}
	return where
}

// work makes pages until there is no job left to work on.
func (in *installation) work() {
	in.t.Helper()
	for in.workOnce() {
		continue
	}
}

func (in *installation) workOnce() bool {
	in.t.Helper()
	worked, err := in.gateway.bulk.Step(in.t.Context())
	if err != nil {
		in.t.Fatal(err)
	}
	return worked
}

// files is the manifest of a job that is done.
func (v visitor) files(where string) bulkFiles {
	v.in.t.Helper()
	a := v.plain("GET", where, nil, "Accept", "application/json")
	var m bulkFiles
	if err := json.Unmarshal(a.body, &m); err != nil || a.status != 200 || a.header.Get("Expires") == "" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") || !m.RequiresAccessToken {
		v.in.t.Fatalf("manifest: %d %v %s", a.status, a.header, a.body)
	}
	return m
}

// lines fetches every output file and returns its resources' references, sorted, and the text of all.
func (v visitor) lines(m bulkFiles) (refs []string, text string) {
	v.in.t.Helper()
	for _, f := range m.Output {
		body := v.file(f.URL)
		n := 0
		for line := range strings.Lines(body) {
			var r struct{ ResourceType, ID string }
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.ResourceType != f.Type {
				v.in.t.Fatalf("a line of a file of %s: %s", f.Type, line)
			}
			refs = append(refs, r.ResourceType+"/"+r.ID)
			n++
		}
		if n > f.Count {
			v.in.t.Errorf("%s: %d lines, manifest says %d", f.Type, n, f.Count)
		}
		text += body
	}
	slices.Sort(refs)
	return refs, text
}

func (v visitor) file(url string) string {
	v.in.t.Helper()
	a := v.plain("GET", url, nil, "Accept", "application/fhir+ndjson")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "application/fhir+ndjson") {
		v.in.t.Fatalf("file: %d %v %s", a.status, a.header, a.body)
	}
	fetched := 0
	for _, e := range v.in.eventsOf(a) {
		if e.Kind == audit.Disclosure && e.Outcome == "fetched" {
			fetched++
		}
	}
	if fetched != 1 {
		v.in.t.Errorf("%d events say that the file was fetched", fetched)
	}
	return string(a.body)
}

// exported runs an export to its end.
func (v visitor) exported(path string) (refs []string, text string) {
	v.in.t.Helper()
	where := v.export(path)
	v.in.work()
	return v.lines(v.files(where))
}

// visibleTo lists what a client may see by searching: an export must give the same.
func (v visitor) visibleTo(types string) []string {
	v.in.t.Helper()
	var out []string
	for next := v.in.gateway.base + "?_count=1000&_type=" + types; next != ""; {
		b := v.get(next).bundle(v.in.t)
		out, next = append(out, b.references()...), b.next()
	}
	slices.Sort(out)
	return out
}

func sameList(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// rowsOf counts the rows of a table.
func (in *installation) rowsOf(table string) int64 {
	in.t.Helper()
	var n int64
	in.database(func(ctx context.Context, e store.Engine) error {
		return e.Read(ctx, func(tx store.Tx) error {
			rows, err := tx.Query(ctx, "SELECT COUNT(*) FROM "+table)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				if err := rows.Scan(&n); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	})
	return n
}

// idOf is a resource's id.
func idOf(t testing.TB, doc []byte) string {
	t.Helper()
	var r struct{ ID string }
	if err := json.Unmarshal(doc, &r); err != nil || r.ID == "" {
		t.Fatal("a resource without id")
	}
	return r.ID
}
