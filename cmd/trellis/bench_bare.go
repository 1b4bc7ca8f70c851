package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"trellis/fhir"
)

// bareDatabase is the driver alone on a store's database; packages sqlite and postgres have one each.
type bareDatabase interface {
	Durable(ctx context.Context) (bool, error)
	Keep(ctx context.Context, ids []string, packed [][]byte) error
	Settle(ctx context.Context) error
	Body(ctx context.Context, id string) ([]byte, error)
	Page(ctx context.Context, patient string, count int) (ids []string, docs [][]byte, err error)
	Rows(ctx context.Context, table, id string) (columns []string, values [][]any, err error)
	Placeholder(n int) string
	Insert(ctx context.Context, statements []string, args [][]any) error
	Size(ctx context.Context) (int64, error)
	Close() error
}

// bareServer is the baseline over HTTP: a statement, decompression, and the bytes Trellis sends.
type bareServer struct {
	db     bareDatabase
	base   string
	unpack *zstd.Decoder
	frames map[string]frame // by patient
}

// frame is what stands around the entries of a patient's page: links, and notices after consent. The
// baseline has it in memory, at no cost.
type frame struct{ head, tail []byte }

func newBareServer(db bareDatabase, base string) (*bareServer, error) {
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0))
	return &bareServer{db: db, base: base, unpack: unpack, frames: map[string]frame{}}, err
}

func (b *bareServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fhir/Observation/{id}", func(w http.ResponseWriter, r *http.Request) {
		packed, err := b.db.Body(r.Context(), r.PathValue("id"))
		if err == nil {
			packed, err = b.unpack.DecodeAll(packed, nil)
		}
		answerBare(w, packed, err)
	})
	mux.HandleFunc("GET /fhir/Observation", func(w http.ResponseWriter, r *http.Request) {
		body, err := b.page(r.Context(), r.URL.Query().Get("patient"))
		answerBare(w, body, err)
	})
	return mux
}

func answerBare(w http.ResponseWriter, body []byte, err error) {
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", fhir.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		return // the client went away; its own error count tells
	}
}

func (b *bareServer) page(ctx context.Context, patient string) ([]byte, error) {
	ids, docs, err := b.db.Page(ctx, patient, benchPage)
	if err != nil {
		return nil, err
	}
	f := b.frames[patient]
	out := append(make([]byte, 0, 32<<10), f.head...)
	for i, id := range ids {
		if docs[i], err = b.unpack.DecodeAll(docs[i], nil); err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, b.entry(id, docs[i])...)
	}
	return append(out, f.tail...), nil
}

func (b *bareServer) entry(id string, doc []byte) []byte {
	out := make([]byte, 0, len(doc)+200)
	out = append(append(append(out, `{"fullUrl":"`...), b.base...), "/Observation/"...)
	out = append(append(append(out, id...), `","resource":`...), doc...)
	return append(out, `,"search":{"mode":"match"}}`...)
}

// searchPath is the search measured: a patient's newest Observations.
func searchPath(patient string, count int) string {
	return "/fhir/Observation?" + url.Values{"patient": {patient}, "_sort": {"-date"}, "_count": {strconv.Itoa(count)}}.Encode()
}

// learn copies what the reading client gets from the gateway into the baseline, for these patients.
func (b *bareServer) learn(ctx context.Context, s *site, from, to int, bar *progress) error {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false)) // as the store packs
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Minute}
	for p := from; p < to; p++ {
		patient := patientID(p)
		all, err := fetch(ctx, client, "http://"+s.address+searchPath(patient, 200), s.tokens[benchReader])
		if err != nil {
			return err
		}
		ids, docs, err := matches(all)
		if err != nil {
			return err
		}
		packed := make([][]byte, len(docs))
		for i, doc := range docs {
			packed[i] = pack.EncodeAll(doc, nil)
		}
		if err := b.db.Keep(ctx, ids, packed); err != nil {
			return err
		}
		page, err := fetch(ctx, client, "http://"+s.address+searchPath(patient, benchPage), s.tokens[benchReader])
		if err != nil {
			return err
		}
		if err := b.frame(patient, page); err != nil {
			return err
		}
		bar.step()
	}
	return pack.Close()
}

// frame keeps what stands around a page's matches.
func (b *bareServer) frame(patient string, page []byte) error {
	ids, docs, err := matches(page)
	if err != nil {
		return err
	}
	var middle []byte
	for i, id := range ids {
		if i > 0 {
			middle = append(middle, ',')
		}
		middle = append(middle, b.entry(id, docs[i])...)
	}
	at := bytes.Index(page, middle)
	if at < 0 || len(ids) != benchPage {
		return fmt.Errorf("a page of %d entries is not as the baseline would write it", len(ids))
	}
	b.frames[patient] = frame{bytes.Clone(page[:at]), bytes.Clone(page[at+len(middle):])}
	return nil
}

// matches lists the ids and documents of a Bundle's matches.
func matches(bundle []byte) (ids []string, docs [][]byte, err error) {
	root, err := fhir.ParseJSON(bundle)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range root.Get("entry").List() {
		if e.Path("search", "mode").Text() == "match" {
			ids, docs = append(ids, e.Path("resource", "id").Text()), append(docs, e.Get("resource").Raw())
		}
	}
	return ids, docs, nil
}

// fetch reads one answer whole.
func fetch(ctx context.Context, client *http.Client, address, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", address, resp.StatusCode)
	}
	return body, nil
}

// same checks that gateway and baseline answer alike, byte for byte, cursors aside: they are sealed anew
// each time.
func (b *bareServer) same(ctx context.Context, s *site, bare string, patients int) error {
	cursor := regexp.MustCompile(`_cursor=[^"&]*`)
	client := &http.Client{Timeout: time.Minute}
	for p := range min(patients, 30) {
		for _, path := range []string{searchPath(patientID(p), benchPage), "/fhir/Observation/" + observationID(p, p%benchObservations)} {
			ours, err := fetch(ctx, client, "http://"+s.address+path, s.tokens[benchReader])
			if err != nil {
				return err
			}
			theirs, err := fetch(ctx, client, "http://"+bare+path, "")
			if err != nil {
				return err
			}
			if !bytes.Equal(cursor.ReplaceAll(ours, nil), cursor.ReplaceAll(theirs, nil)) {
				return fmt.Errorf("gateway and baseline answer differently (%d and %d bytes)", len(ours), len(theirs))
			}
		}
	}
	return nil
}
