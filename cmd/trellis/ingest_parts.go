package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"trellis/fhir"
)

// parts sends a unit in several requests. Parts of one transaction cannot name each other's entries, so an entry that
// has a urn:uuid is stored under that UUID as its id, and whoever refers to it says so; that takes a client that may
// choose ids. A first run that did some of the parts is gone on with: each part has a receipt of its own.
func (in *fhirIngestion) parts(ctx context.Context, u unit, size int) error {
	entries, err := settledIDs(u.entries)
	if err != nil {
		return in.refuse(u, 0, err.Error())
	}
	for part := range slices.Chunk(entries, size) {
		p := unit{file: u.file, entries: part, loose: u.loose, kind: u.kind}
		body, err := p.body(p.kind)
		if err != nil {
			return err
		}
		if err := in.sendWhole(ctx, p, body); err != nil {
			return err
		}
	}
	return nil
}

// settledIDs gives entries with a urn:uuid that UUID as their id and points the links at them.
func settledIDs(entries []entry) ([]entry, error) {
	became := map[string]string{}
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.FullURL, "urn:uuid:")
		if ok && e.Request.Method == "POST" && e.Request.IfNoneExist == "" {
			became[e.FullURL] = e.Request.URL + "/" + id
		}
	}
	out := make([]entry, len(entries))
	for i, e := range entries {
		if len(e.Resource) == 0 {
			out[i] = e
			continue
		}
		res, err := fhir.ReadTrusted(e.Resource)
		if err != nil {
			return nil, errors.New("an entry's resource cannot be read")
		}
		lost := false
		doc, changed := fhir.Relink(res, func(link string, isReference bool) (string, bool) {
			to, ok := became[link]
			lost = lost || (isReference && !ok && strings.HasPrefix(link, "urn:uuid:"))
			return to, ok
		})
		if lost {
			return nil, errors.New("the Bundle is larger than the server takes, and a link in it leads to an entry that is stored conditionally or to none; split it by hand")
		}
		if !changed {
			doc = e.Resource
		}
		if to, ok := became[e.FullURL]; ok {
			typ, id, _ := strings.Cut(to, "/")
			if doc, err = withID(doc, id); err != nil {
				return nil, err
			}
			e.Request = place(typ, id)
		}
		e.Resource = doc
		out[i] = e
	}
	return out, nil
}

// withID is a resource under an id.
func withID(doc []byte, id string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		return nil, errors.New("an entry's resource cannot be read")
	}
	members["id"] = fhir.Quote(id)
	return json.Marshal(members)
}

// maxLine bounds one line of NDJSON.
const maxLine = 32 << 20

// eachDocument calls fn with each JSON document of a file, its number from 1 and how many bytes were read for it. A line
// of NDJSON that is no JSON is a fault of that line alone; in other files nothing can be read behind a fault.
func eachDocument(name string, fn func(n int, doc json.RawMessage, read int64, fault error) error) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		return eachLine(f, fn)
	}
	decoder := json.NewDecoder(f)
	before := int64(0)
	for n := 1; ; n++ {
		var doc json.RawMessage
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		read := decoder.InputOffset() - before
		before = decoder.InputOffset()
		if err != nil {
			return fn(n, nil, read, fmt.Errorf("not JSON from byte %d on", before))
		}
		if err := fn(n, doc, read, nil); err != nil {
			return err
		}
	}
}

func eachLine(f io.Reader, fn func(n int, doc json.RawMessage, read int64, fault error) error) error {
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		doc := bytes.Clone(bytes.TrimSpace(lines.Bytes()))
		read := int64(len(lines.Bytes()) + 1)
		if len(doc) == 0 {
			continue
		}
		var fault error
		if !json.Valid(doc) {
			fault = errors.New("the line is not JSON")
		}
		if err := fn(n, doc, read, fault); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d MiB", maxLine>>20)
	}
	return lines.Err()
}
