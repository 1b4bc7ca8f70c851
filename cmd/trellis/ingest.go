package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const ingestHelp = `trellis ingest: send records to a server

Usage:
  trellis ingest --server URL --clients FILE --as NAME --pack P FILE...
  trellis ingest --server URL --clients FILE --as NAME --fhir FILE...

A FILE of a JSON pack holds one record, an array of records, or one record per line. The files of a CSV pack
are sent together. One receipt line per record goes to standard output, progress to standard error.

With --fhir a FILE holds FHIR R4: a resource, a Bundle, or one of them per line (.ndjson). Bundles of type transaction
and batch are sent as they are, so that their links and conditions hold; one larger than the server takes is sent in
parts, with each urn:uuid as the id (the client must be allowed to choose ids). Other resources, alone, per line or in
collections, are sent in transactions of 200: with an id they are stored under it, without one under one the server
makes. Synthea's hospitalInformation and practitionerInformation files go first. A record the server refuses is named
by file and number, and the others are stored.

Receipts are also kept in --receipts (default: the first file's name with .receipts.ndjson). A run that was
interrupted is taken up by running the same command again: records with a receipt there are passed over, and a
record that is sent twice changes nothing.

Flags:
  --server URL      the gateway, for instance http://127.0.0.1:8080
  --clients FILE    clients file, for instance trellis-data/demo-clients.json, or the private key of one client as
                    "trellis client add --new-key" writes it
  --as NAME         which of its clients sends; with a key, the client's id
  --fhir            the files hold FHIR resources
  --pack P          one of those that 'trellis map packs' lists
  --lineage         keep where every element comes from in the Provenance of each record
  --receipts FILE   where receipts are kept; "-" keeps none

Exit status: 0 all records are in; 1 some were refused; 2 wrong use or the server cannot be reached.

Examples:
  trellis ingest --server http://127.0.0.1:8080 --clients trellis-data/demo-clients.json --as rco --pack recovery-plan plans.ndjson
  trellis ingest --server http://127.0.0.1:8080 --clients trellis-data/demo-clients.json --as screening --pack ny-1115-ahc-hrsn SCREENING.csv DEMOGRAPHIC.csv QE_ADMIN.csv
  trellis ingest --server https://gateway.example.org --clients feed.jwk --as feed --pack visits visits.csv
  trellis ingest --server http://127.0.0.1:8080 --clients trellis-data/demo-clients.json --as operator --fhir synthea/*.json
  trellis ingest --server http://127.0.0.1:8080 --clients trellis-data/demo-clients.json --as operator --fhir Patient.ndjson Condition.ndjson
`

// ingestion is one run.
type ingestion struct {
	remote   *remote
	pack     string
	lineage  bool
	receipts string
	stdout   io.Writer
	stderr   io.Writer
}

// batchRecord is one request: a JSON record, or all files of a CSV delivery.
type batchRecord struct {
	contentType string
	body        []byte
	hash        string
}

// receiptLine is one line of standard output and of the receipts file.
type receiptLine struct {
	SHA256  string          `json:"sha256"` // of what was sent
	Pack    string          `json:"pack"`
	Status  int             `json:"status"`
	Error   string          `json:"error,omitempty"`
	Receipt json.RawMessage `json:"receipt,omitempty"`
}

func runIngest(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, ingestHelp) }
	server := fs.String("server", "", "")
	clients := fs.String("clients", "", "")
	as := fs.String("as", "", "")
	pack := fs.String("pack", "", "")
	receipts := fs.String("receipts", "", "")
	lineage := fs.Bool("lineage", false, "")
	isFHIR := fs.Bool("fhir", false, "")
	if code, done := parseFlags(fs, args, stdout, ingestHelp); done {
		return code
	}
	if *server == "" || *clients == "" || *as == "" || (*pack == "") != *isFHIR || *isFHIR && *lineage || fs.NArg() == 0 {
		fmt.Fprintln(stderr, "trellis ingest: --server, --clients, --as, --pack or --fhir, and at least one file are required; see `trellis ingest --help`")
		return 2
	}
	file, err := readClients(*clients)
	if err != nil {
		fmt.Fprintln(stderr, "trellis ingest:", err)
		return 2
	}
	client, err := file.client(*as)
	if err != nil {
		fmt.Fprintln(stderr, "trellis ingest:", err)
		return 2
	}
	if *receipts == "" {
		*receipts = fs.Arg(0) + ".receipts.ndjson"
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := file.connect(ctx, *server); err != nil {
		fmt.Fprintln(stderr, "trellis ingest:", err)
		return 2
	}
	to := newRemote(*server, file.TokenEndpoint, client)
	var refused int
	if *isFHIR {
		in := &fhirIngestion{remote: to, receipts: *receipts, stdout: stdout, stderr: stderr}
		err = in.run(ctx, fs.Args())
		refused = in.refused
	} else {
		in := &ingestion{remote: to, pack: *pack, lineage: *lineage, receipts: *receipts, stdout: stdout, stderr: stderr}
		refused, err = in.run(ctx, fs.Args())
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "trellis ingest:", err)
		return 2
	case refused > 0:
		fmt.Fprintf(stderr, "%d records were refused; their receipt lines say why\n", refused)
		return 1
	}
	return 0
}

func (in *ingestion) run(ctx context.Context, files []string) (refused int, err error) {
	records, err := in.records(files)
	if err != nil {
		return 0, err
	}
	done, keep, err := openReceipts(in.receipts, func(line receiptLine) (string, bool) {
		return line.SHA256, line.Pack == in.pack && line.Status/100 == 2
	})
	if err != nil {
		return 0, err
	}
	if keep != nil {
		defer func() { err = errors.Join(err, keep.Close()) }()
	}
	bar := newProgress(in.stderr, "ingesting", len(records))
	for _, r := range records {
		if !done[r.hash] {
			line, err := in.send(ctx, r)
			if err != nil {
				return refused, err
			}
			if line.Status/100 != 2 {
				refused++
			}
			if err := keepReceipt(line, in.stdout, keep); err != nil {
				return refused, err
			}
		}
		bar.step()
	}
	return refused, nil
}

func (in *ingestion) send(ctx context.Context, r batchRecord) (receiptLine, error) {
	line := receiptLine{SHA256: r.hash, Pack: in.pack}
	path := "/intake/" + in.pack
	if in.lineage {
		path += "?lineage=true"
	}
	a, err := in.remote.sendPatiently(ctx, "POST", path, r.body, http.Header{"Content-Type": {r.contentType}})
	var refused *errRefused
	switch {
	case err == nil:
		line.Status, line.Receipt = a.status, a.body
	case errors.As(err, &refused) && !refused.busy():
		line.Status, line.Error = refused.status, refused.text
	default:
		return line, err
	}
	return line, nil
}

// records splits files into requests.
func (in *ingestion) records(files []string) ([]batchRecord, error) {
	if strings.EqualFold(filepath.Ext(files[0]), ".csv") {
		r, err := csvDelivery(files)
		return []batchRecord{r}, err
	}
	var out []batchRecord
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		docs, err := jsonRecords(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, doc := range docs {
			sum := sha256.Sum256(doc)
			out = append(out, batchRecord{"application/json", doc, hex.EncodeToString(sum[:])})
		}
	}
	return out, nil
}

// jsonRecords reads one record, an array of records, or one record after another.
func jsonRecords(data []byte) ([]json.RawMessage, error) {
	var out []json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		var doc json.RawMessage
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("record %d is not JSON", len(out)+1)
		}
		var list []json.RawMessage
		if doc[0] == '[' && json.Unmarshal(doc, &list) == nil {
			out = append(out, list...)
			continue
		}
		out = append(out, doc)
	}
}

// csvDelivery packs files into one form; the hash is of the files alone.
func csvDelivery(files []string) (batchRecord, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	hash := sha256.New()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return batchRecord{}, err
		}
		if _, err := hash.Write(data); err != nil {
			return batchRecord{}, err
		}
		part, err := form.CreateFormFile("file", filepath.Base(file))
		if err != nil {
			return batchRecord{}, err
		}
		if _, err := part.Write(data); err != nil {
			return batchRecord{}, err
		}
	}
	if err := form.Close(); err != nil {
		return batchRecord{}, err
	}
	return batchRecord{form.FormDataContentType(), body.Bytes(), hex.EncodeToString(hash.Sum(nil))}, nil
}
