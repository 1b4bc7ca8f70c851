package verify

import (
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"trellis/gateway/audit/logfile"
)

// Problem classifies a finding.
type Problem string

// What can be wrong with a log.
const (
	ChangedRow    Problem = "changed-row"             // a row is not what was signed
	RemovedRow    Problem = "removed-row"             // a signed row is missing
	ReorderedRow  Problem = "reordered-row"           // a signed row stands in another place
	DuplicatedRow Problem = "duplicated-row"          // a signed row stands there twice
	ChangedRange  Problem = "changed-range"           // something in these rows is not what was signed; which one cannot be told
	Unattested    Problem = "unattested-row"          // numbered, but covered by no valid checkpoint
	BadSignature  Problem = "bad-signature"           // a checkpoint's signature does not verify
	Inconsistent  Problem = "inconsistent-checkpoint" // a signed checkpoint contradicts another or the log
	Truncated     Problem = "truncated-log"           // the log is shorter than a kept checkpoint says
	Rewritten     Problem = "rewritten-log"           // the log was changed and signed again since a kept checkpoint
	DamagedHash   Problem = "damaged-hash"            // a stored hash is wrong or missing
	Malformed     Problem = "malformed-file"          // a line cannot be read or stands in the wrong place
)

// Finding is one thing that is wrong.
type Finding struct {
	Problem Problem `json:"problem"`
	Index   int64   `json:"index"`          // row, or first row of a range; -1 when it concerns no row
	ID      string  `json:"id,omitempty"`   // leaf id, when the file tells it
	Line    int     `json:"line,omitempty"` // line of the file; 0 when it concerns no single line
	Text    string  `json:"text"`           // the whole in words; holds indexes, ids and sizes, nothing of events
}

func (f Finding) String() string { return string(f.Problem) + ": " + f.Text }

// Report is the outcome of a verification.
type Report struct {
	Origin        string             `json:"origin"`
	Size          int64              `json:"size"` // rows covered by the latest valid checkpoint
	Latest        logfile.Checkpoint `json:"-"`
	Rows          int64              `json:"rows"`        // numbered rows in the file
	Erased        int64              `json:"erased"`      // of them, rows whose event was erased; their commitment still verifies
	Checkpoints   int                `json:"checkpoints"` // valid ones
	Kept          int                `json:"kept"`        // kept checkpoints the log is consistent with
	Unnumbered    int64              `json:"unnumbered"`  // durable rows not yet in the tree: nothing proves them yet
	UnnumberedIDs []string           `json:"unnumberedIds,omitempty"`
	Findings      []Finding          `json:"findings"`
	More          int                `json:"more,omitempty"` // findings beyond the maximum, not listed
}

// OK reports whether everything that is signed is there and nothing else is wrong. Unnumbered rows alone do not spoil
// it: a log that is in use always has some.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Bounds of a report: a thoroughly damaged file must not drown its reader.
const (
	maxFindings   = 1000
	maxUnnumbered = 100
)

func (r *Report) add(p Problem, index int64, id string, line int, format string, args ...any) {
	if len(r.Findings) >= maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, Finding{Problem: p, Index: index, ID: id, Line: line, Text: fmt.Sprintf(format, args...)})
}

// Options are what the verifier knows besides the file.
type Options struct {
	Keys []note.Verifier // the log's public keys: the current one and, after a rotation, the retired ones
	Kept [][]byte        // signed checkpoints kept from earlier, if any
}
