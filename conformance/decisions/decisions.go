// Package decisions holds the release decisions the gateway is held to, as data an auditor can read:
// organizations.json (who asks), records.json (what is always on file), records-more.json and consents.json (what a
// case adds) and cases*.json (who asks for what, and what must and must not come back). cmd/trellis runs them over
// HTTP on both databases. numbers.json lists the 80 test vectors the cases are numbered by; README.md, made from it,
// says of each where it is proven.
//
// The package only reads its own files. It knows no FHIR, no HTTP and no rules.
package decisions

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"
)

//go:embed *.json
var files embed.FS

// Organization is an actor of the fixture with its legal class.
type Organization struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Class string `json:"class"`
	Payer bool   `json:"payer,omitempty"`
}

// Record is one resource on file. Owner is the organisation that writes it and so becomes its custodian.
type Record struct {
	Name     string          `json:"name"`
	About    string          `json:"about"`
	Owner    string          `json:"owner"`
	Resource json.RawMessage `json:"resource"`
}

// Case is one decision or a short story of several, told in order on a fresh installation that holds all of
// records.json, and the consents and further records in Given, in their order.
type Case struct {
	ID    string   `json:"id"`
	Title string   `json:"title"`
	Rule  string   `json:"rule"` // section of the regulation, or of FHIR
	Given []string `json:"given"`
	Steps []Step   `json:"steps"`
	File  string   `json:"-"` // it stands in
}

// Step is a request, or else a change: Write records a consent or a further record by its owner, Delete deletes a record
// by its custodian, Fault breaks something ("audit-log": the log takes no more entries; "grants": what consents grant
// cannot be read; "facts": consents themselves cannot be read). At moves the clock first.
type Step struct {
	At     time.Time `json:"at"`
	Write  string    `json:"write,omitempty"`
	Delete string    `json:"delete,omitempty"`
	Fault  string    `json:"fault,omitempty"`

	As      string            `json:"as,omitempty"`      // organisation whose client asks
	Purpose string            `json:"purpose,omitempty"` // of use
	Request string            `json:"request,omitempty"` // "GET Condition/C1", or "follow next" of the answer before, or "follow job"
	Form    string            `json:"form,omitempty"`    // body of a POST _search
	Body    json.RawMessage   `json:"body,omitempty"`    // body of any other; "the answer before" sends that back, and in it "the receiver" is where notifications are received
	Export  string            `json:"export,omitempty"`  // a bulk export, from kick-off to files: "Patient/$export?_type=Condition"
	Headers map[string]string `json:"headers,omitempty"` // the value "earlier ETag" stands for the last one seen
	Expect  Expect            `json:"expect"`
}

// Expect is what must hold of an answer.
type Expect struct {
	Status  int               `json:"status"`
	SameAs  string            `json:"same_as,omitempty"`         // a request of the same caller (same body, but for its id) that must get the very same answer
	Runs    bool              `json:"same_statements,omitempty"` // and by the same statements to the database
	But     map[string]string `json:"but,omitempty"`             // text of that request's answer -> text of this one's
	Entries *[]string         `json:"entries,omitempty"`         // the set's resources, or the export's, in any order, all of them
	Total   *int              `json:"total,omitempty"`
	NoTotal bool              `json:"no_total,omitempty"`
	Has     []string          `json:"has,omitempty"`
	Lacks   []string          `json:"lacks,omitempty"`
	Missing string            `json:"missing,omitempty"` // what the recorder of a consent is told it lacks
	Part2   *Part2            `json:"part2,omitempty"`   // what must travel with a Part 2 record; null: no notice at all
	Drafted *int              `json:"drafted,omitempty"` // incidents that wait for a person

	// Notified is what subscribers are sent now, all of it in this order, as "event 1 Condition/C2", "heartbeat 1" or
	// "handshake 0", the number being how many events they were told of. Nothing is sent before a step that says.
	Notified *[]string `json:"notified,omitempty"`
	Event    *Event    `json:"event,omitempty"` // the audit event of the request
}

// Part2 is what a consented disclosure carries besides the notice.
type Part2 struct {
	Scope        []string `json:"scope"`        // parts of the explanation of the consent
	Redisclosure string   `json:"redisclosure"` // the rule stamped on it
}

// Event is the audit event a request must leave.
type Event struct {
	Kind     string   `json:"kind"`
	Code     string   `json:"code,omitempty"`     // deciding reason of one of its decisions
	Consents []string `json:"consents,omitempty"` // versions the decision rests on
	Patient  string   `json:"patient,omitempty"`

	Obligations []string `json:"obligations,omitempty"` // among those of that decision
}

// Number is what is known of a test vector besides the cases that begin with its number: tests in Go that prove it, and
// the reason why it is not proven, or not all of it.
type Number struct {
	Number int      `json:"number"`
	Title  string   `json:"title,omitempty"` // where no case has one
	Tests  []string `json:"tests,omitempty"` // "package Test"
	Reason string   `json:"reason,omitempty"`
}

// Vectors is how many test vectors there are.
const Vectors = 80

// Fixture is everything on file.
type Fixture struct {
	Organizations []Organization
	Records       []Record // always there, in this order
	Consents      []Record // by name, only where a case gives them
	More          []Record // likewise
	Cases         []Case
	Numbers       []Number
}

// Load reads the fixture. A misspelt member, an unknown consent or an empty step is an error.
func Load() (Fixture, error) {
	var f Fixture
	if err := read("organizations.json", &f.Organizations); err != nil {
		return f, err
	}
	if err := read("records.json", &f.Records); err != nil {
		return f, err
	}
	if err := read("consents.json", &f.Consents); err != nil {
		return f, err
	}
	if err := read("records-more.json", &f.More); err != nil {
		return f, err
	}
	if err := read("numbers.json", &f.Numbers); err != nil {
		return f, err
	}
	names, err := fs.Glob(files, "cases*.json")
	if err != nil {
		return f, err
	}
	for _, name := range names {
		var cases []Case
		if err := read(name, &cases); err != nil {
			return f, err
		}
		for i := range cases {
			cases[i].File = name
		}
		f.Cases = append(f.Cases, cases...)
	}
	return f, f.check()
}

func read(name string, into any) error {
	data, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decisions: %s: %w", name, err)
	}
	return nil
}

func (f Fixture) check() error {
	seen := map[string]bool{}
	for _, c := range f.Cases {
		if c.ID == "" || c.Title == "" || c.Rule == "" || seen[c.ID] {
			return fmt.Errorf("decisions: case %q lacks id, title or rule, or is there twice", c.ID)
		}
		seen[c.ID] = true
		for _, name := range c.Given {
			if _, ok := f.Given(name); !ok {
				return fmt.Errorf("decisions: case %s: no consent or record %q", c.ID, name)
			}
		}
		asks := false
		for i, s := range c.Steps {
			if s.Request == "" && s.Export == "" && s.Write == "" && s.Delete == "" && s.Fault == "" {
				return fmt.Errorf("decisions: case %s: step %d does nothing", c.ID, i+1)
			}
			asks = asks || s.Expect.Status != 0
		}
		if !asks {
			return fmt.Errorf("decisions: case %s expects nothing", c.ID)
		}
	}
	return nil
}

// Given finds a consent, or a further record, by name.
func (f Fixture) Given(name string) (Record, bool) {
	for _, list := range [][]Record{f.Consents, f.More} {
		for _, r := range list {
			if r.Name == name {
				return r, true
			}
		}
	}
	return Record{}, false
}
