package bulk

import (
	"encoding/json"
	"strconv"
	"time"

	"trellis/fhir"
	"trellis/gateway/store"
)

// manifest is the answer to a status request for a job that is done.
type manifest struct {
	TransactionTime     string `json:"transactionTime"`
	Request             string `json:"request"`
	RequiresAccessToken bool   `json:"requiresAccessToken"`
	Output              []item `json:"output"`
	Deleted             []item `json:"deleted"`
	Error               []item `json:"error"`
}

type item struct {
	Type  string `json:"type"`
	URL   string `json:"url"`
	Count int    `json:"count"`
}

// FileName is the last part of the URL of a job's file.
func FileName(no int) string { return strconv.Itoa(no) + ".ndjson" }

// Manifest is the manifest of a job whose files are found below a URL.
func Manifest(j store.Job, below string) ([]byte, error) {
	spec, err := ReadSpec(j)
	if err != nil {
		return nil, err
	}
	progress, err := ReadProgress(j)
	if err != nil {
		return nil, err
	}
	m := manifest{TransactionTime: TransactionTime(j).Format(fhir.InstantLayout), Request: spec.URL, RequiresAccessToken: true,
		Output: []item{}, Deleted: []item{}, Error: []item{}}
	for no, f := range progress.Files {
		it := item{Type: f.Type, URL: below + "/" + FileName(no), Count: f.Rows}
		switch f.Kind {
		case output:
			m.Output = append(m.Output, it)
		case deleted:
			m.Deleted = append(m.Deleted, it)
		default:
			m.Error = append(m.Error, it)
		}
	}
	return json.Marshal(m)
}

// TransactionTime is the time a job answers for: every change committed by then is in it. It lies a little before the
// job's start, for a write that began earlier may not have been durable yet; a next export with this as _since sees
// whatever came later.
func TransactionTime(j store.Job) time.Time { return j.Created.Add(-settle) }
