package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Limits of what is sent at a time; the server's own are 5,000 entries and 32 MiB.
const (
	groupSize  = 200      // single resources in one transaction
	groupBytes = 4 << 20  // of them
	mostSent   = 5000     // entries of a Bundle sent as it is
	mostBytes  = 30 << 20 // of it
)

// fhirIngestion loads FHIR resources into a server.
type fhirIngestion struct {
	remote   *remote
	receipts string
	stdout   io.Writer
	stderr   io.Writer
	most     int // entries of one request; 0 for mostSent

	done    map[string]bool
	kept    *os.File
	bar     *progress
	size    int64 // of all files
	read    int64 // of them
	stored  int
	refused int
}

// fhirReceipt is one line of standard output and of the receipts file: one transaction.
type fhirReceipt struct {
	SHA256  string `json:"sha256"` // of what was sent
	File    string `json:"file"`
	Records string `json:"records"` // in the file, from-to
	Status  int    `json:"status"`
	Stored  int    `json:"stored"`
	Refused int    `json:"refused,omitempty"`
	Error   string `json:"error,omitempty"`
}

// entry is one entry of a Bundle to be sent.
type entry struct {
	FullURL  string          `json:"fullUrl,omitempty"`
	Resource json.RawMessage `json:"resource,omitempty"`
	Request  entryMethod     `json:"request"`

	record int // in its file
}

type entryMethod struct {
	Method      string `json:"method"`
	URL         string `json:"url"`
	IfNoneExist string `json:"ifNoneExist,omitempty"`
	IfMatch     string `json:"ifMatch,omitempty"`
}

// unit is what is sent in one request.
type unit struct {
	file    string
	entries []entry
	loose   bool // entries that stand for themselves: one that is refused need not stop the others
	kind    string
}

func (in *fhirIngestion) run(ctx context.Context, files []string) error {
	files = sourcesFirst(files)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		in.size += info.Size()
	}
	if err := in.open(); err != nil {
		return err
	}
	if in.kept != nil {
		defer func() { _ = in.kept.Close() }() // every line was written and checked by then
	}
	in.bar = newProgress(in.stderr, "loading, % of bytes", 100)
	start := time.Now()
	for _, f := range files {
		if err := in.file(ctx, f); err != nil {
			return err
		}
	}
	in.advance(in.size - in.read)
	took := time.Since(start).Seconds()
	fmt.Fprintf(in.stderr, "%d resources are in after %.1f s (%.0f/s), %d refused\n", in.stored, took, float64(in.stored)/max(took, 0.001), in.refused)
	return nil
}

// sourcesFirst puts what Synthea's patients refer to before them.
func sourcesFirst(files []string) []string {
	rank := func(f string) int {
		switch base := filepath.Base(f); {
		case strings.HasPrefix(base, "hospitalInformation"):
			return 0
		case strings.HasPrefix(base, "practitionerInformation"):
			return 1
		}
		return 2
	}
	out := slices.Clone(files)
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// open reads which units are in already and opens the receipts for more.
func (in *fhirIngestion) open() (err error) {
	in.done, in.kept, err = openReceipts(in.receipts, func(line fhirReceipt) (string, bool) {
		return line.SHA256, line.Status/100 == 2 && line.Refused == 0
	})
	return err
}

// file sends one file: a Bundle as it is, other resources in groups.
func (in *fhirIngestion) file(ctx context.Context, name string) error {
	group := unit{file: name, loose: true, kind: "transaction"}
	size := 0
	flush := func() error {
		u := group
		group.entries, size = nil, 0
		if len(u.entries) == 0 {
			return nil
		}
		return in.send(ctx, u)
	}
	err := eachDocument(name, func(n int, doc json.RawMessage, read int64, fault error) error {
		defer in.advance(read)
		if fault != nil {
			return in.refuse(unit{file: name, entries: []entry{{record: n}}}, 0, fault.Error())
		}
		var head struct {
			ResourceType, ID string
			Type             json.RawMessage // of a Bundle its kind; other resources have other things there
		}
		if err := json.Unmarshal(doc, &head); err != nil || head.ResourceType == "" {
			return in.refuse(unit{file: name, entries: []entry{{record: n}}}, 0, "not a FHIR resource")
		}
		if head.ResourceType == "Bundle" {
			if err := flush(); err != nil {
				return err
			}
			return in.bundle(ctx, name, n, strings.Trim(string(head.Type), `"`), doc)
		}
		group.entries = append(group.entries, entry{Resource: doc, Request: place(head.ResourceType, head.ID), record: n})
		if size += len(doc); len(group.entries) >= groupSize || size >= groupBytes {
			return flush()
		}
		return nil
	})
	return errors.Join(err, flush())
}

// place is the request that stores a resource: under its id, or under one the server makes.
func place(typ, id string) entryMethod {
	if id == "" {
		return entryMethod{Method: "POST", URL: typ}
	}
	return entryMethod{Method: "PUT", URL: typ + "/" + id}
}

// bundle sends a Bundle: transactions and batches as what they are, what only collects resources as a transaction.
func (in *fhirIngestion) bundle(ctx context.Context, name string, n int, kind string, doc json.RawMessage) error {
	var b struct{ Entry []json.RawMessage }
	if err := json.Unmarshal(doc, &b); err != nil {
		return in.refuse(unit{file: name, entries: []entry{{record: n}}}, 0, "the Bundle's entries cannot be read")
	}
	u := unit{file: name, kind: "transaction", loose: kind == "collection" || kind == "searchset"}
	switch kind {
	case "transaction":
	case "batch":
		u.kind = kind
	case "collection", "searchset":
	default:
		return in.refuse(unit{file: name, entries: []entry{{record: n}}}, 0, "a Bundle of this type is not loaded; send batch, transaction, collection or searchset")
	}
	for _, raw := range b.Entry {
		e := entry{record: n}
		if err := json.Unmarshal(raw, &e); err != nil {
			return in.refuse(unit{file: name, entries: []entry{{record: n}}}, 0, "an entry cannot be read")
		}
		if u.loose {
			var head struct{ ResourceType, ID string }
			if err := json.Unmarshal(e.Resource, &head); err != nil || head.ResourceType == "OperationOutcome" {
				continue // what a server said about the set is no record
			}
			e.Request = place(head.ResourceType, head.ID)
		}
		u.entries = append(u.entries, e)
	}
	if len(u.entries) == 0 {
		return nil
	}
	return in.send(ctx, u)
}

// send sends a unit, in parts when it is larger than the server takes.
func (in *fhirIngestion) send(ctx context.Context, u unit) error {
	body, err := u.body(u.kind)
	if err != nil {
		return err
	}
	most := in.most
	if most == 0 {
		most = mostSent
	}
	if len(u.entries) > most || len(body) > mostBytes {
		return in.parts(ctx, u, max(1, most/5))
	}
	return in.sendWhole(ctx, u, body)
}

func (u unit) body(kind string) ([]byte, error) {
	return json.Marshal(struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Entry        []entry `json:"entry"`
	}{"Bundle", kind, u.entries})
}

// sendWhole sends one request, unless a run before this one has its receipt.
func (in *fhirIngestion) sendWhole(ctx context.Context, u unit, body []byte) error {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if in.done[hash] {
		in.stored += len(u.entries)
		return nil
	}
	a, err := in.post(ctx, body, hash)
	var refused *errRefused
	switch {
	case err == nil && u.kind == "batch":
		return in.settled(u, hash, a)
	case err == nil:
		in.stored += len(u.entries)
		return in.keep(fhirReceipt{SHA256: hash, File: u.file, Records: u.records(), Status: a.status, Stored: len(u.entries)})
	case !errors.As(err, &refused) || refused.busy() || refused.status == http.StatusUnauthorized:
		return err // says nothing about the records
	case len(u.entries) > 1 && (u.loose || refused.status == http.StatusRequestEntityTooLarge):
		return in.parts(ctx, u, (len(u.entries)+1)/2) // until it is plain which of them are refused
	}
	return in.refuse(u, refused.status, refused.text)
}

// settled reads the answers to a batch: what was stored, and what was not and why.
func (in *fhirIngestion) settled(u unit, hash string, a answer) error {
	var b struct {
		Entry []struct {
			Response struct {
				Status  string
				Outcome json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(a.body, &b); err != nil || len(b.Entry) != len(u.entries) {
		return errors.New("the server's answer to a batch cannot be read")
	}
	line := fhirReceipt{SHA256: hash, File: u.file, Records: u.records(), Status: a.status}
	for i, e := range b.Entry {
		if strings.HasPrefix(e.Response.Status, "2") {
			line.Stored++
			continue
		}
		line.Refused++
		fmt.Fprintf(in.stderr, "%s, record %d: %s: %s\n", u.file, u.entries[i].record, e.Response.Status, outcomeText(e.Response.Outcome))
	}
	in.stored += line.Stored
	in.refused += line.Refused
	return in.keep(line)
}

// post sends a Bundle. The key makes sure that what the server did and could not tell is not done twice when it is sent
// again.
func (in *fhirIngestion) post(ctx context.Context, body []byte, key string) (answer, error) {
	return in.remote.sendPatiently(ctx, "POST", "/fhir", body, http.Header{"Content-Type": {"application/fhir+json"}, "Idempotency-Key": {key}, "Prefer": {"return=minimal"}})
}

// refuse reports a unit that is not in.
func (in *fhirIngestion) refuse(u unit, status int, why string) error {
	in.refused += len(u.entries)
	fmt.Fprintf(in.stderr, "%s, record %s: %s\n", u.file, u.records(), why)
	return in.keep(fhirReceipt{File: u.file, Records: u.records(), Status: status, Refused: len(u.entries), Error: why})
}

// records names where in its file a unit stands.
func (u unit) records() string {
	first, last := u.entries[0].record, u.entries[len(u.entries)-1].record
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func (in *fhirIngestion) keep(line fhirReceipt) error {
	return keepReceipt(line, in.stdout, in.kept)
}

// advance shows how many bytes are behind us.
func (in *fhirIngestion) advance(read int64) {
	in.read += read
	for in.size > 0 && int64(in.bar.done) < min(100, 100*in.read/in.size) {
		in.bar.step()
	}
}
