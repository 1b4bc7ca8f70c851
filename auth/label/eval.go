package label

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"trellis/fhir"
)

// corpusFiles is the golden corpus: resources with the labels they ought to have by clinical definition (ICD-10-CM, LOINC,
// labelled indications, definitions of services), not by the rules. What the rules miss stays in it and is printed.
//
//go:embed corpus
var corpusFiles embed.FS

// Case is one resource of the corpus.
type Case struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`   // positive, negative, or uncoded: it has no code that says what it is about
	Expect   []string        `json:"expect"` // label codes; unclassified where only words say something
	Reason   string          `json:"reason"`
	Program  bool            `json:"program,omitempty"` // made by a Part 2 program
	Resource json.RawMessage `json:"resource"`
}

// Corpus reads the golden corpus.
func Corpus() ([]Case, error) {
	names, err := fs.Glob(corpusFiles, "corpus/*.ndjson")
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, name := range names {
		data, err := corpusFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			var c Case
			dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&c); err != nil {
				return nil, fmt.Errorf("label: %s, line %d: %w", name, n, err)
			}
			if c.Kind != "positive" && c.Kind != "negative" && c.Kind != "uncoded" {
				return nil, fmt.Errorf("label: %s, line %d: unknown kind", name, n)
			}
			out = append(out, c)
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("label: %s: %w", name, err)
		}
	}
	return out, nil
}

// corpusPrograms is the one program the corpus refers to, with its site.
type corpusPrograms struct{}

// Program implements Programs.
func (corpusPrograms) Program(reference string) bool {
	return reference == "Organization/program" || reference == "Location/program-site"
}

// Score counts what was found of a label: rightly, wrongly, and not.
type Score struct{ Right, Wrong, Missed int }

// Precision is the share of what was found that is right; 1 where nothing was found.
func (s Score) Precision() float64 { return share(s.Right, s.Wrong) }

// Recall is the share of what is there that was found; 1 where there is nothing.
func (s Score) Recall() float64 { return share(s.Right, s.Missed) }

func share(part, rest int) float64 {
	if part+rest == 0 {
		return 1
	}
	return float64(part) / float64(part+rest)
}

// Miss is a case whose labels are not the expected ones.
type Miss struct {
	Case         Case
	Wrong, Lacks []string
}

// Measurement is what a pack does with the corpus.
type Measurement struct {
	Labels             map[string]Score
	Overall            Score
	Misses             []Miss
	Cases              int
	Negatives, Uncoded int
}

// Names lists the labels measured.
func (m Measurement) Names() []string { return slices.Sorted(maps.Keys(m.Labels)) }

// Measure classifies the corpus under a deployment's choice of rules.
func Measure(cfg Config, cases []Case) (Measurement, error) {
	cfg.Programs = corpusPrograms{}
	m := Measurement{Labels: map[string]Score{}, Cases: len(cases)}
	c, err := Load(cfg)
	if err != nil {
		return m, err
	}
	for _, test := range cases {
		r, err := fhir.ReadTrusted(test.Resource)
		if err != nil {
			return m, fmt.Errorf("label: case %s: %w", test.ID, err)
		}
		switch test.Kind {
		case "negative":
			m.Negatives++
		case "uncoded":
			m.Uncoded++
		}
		m.count(test, c.Classify(r, Source{Organization: "holder", Part2: test.Program, Covered: true}, nil))
	}
	return m, nil
}

func (m *Measurement) count(test Case, seg Segment) {
	miss := Miss{Case: test}
	score := func(label string, change func(*Score)) {
		s := m.Labels[label]
		change(&s)
		m.Labels[label] = s
		change(&m.Overall)
	}
	found := map[string]bool{}
	for _, l := range seg.Labels {
		found[l.Code] = true
		if slices.Contains(test.Expect, l.Code) {
			score(l.Code, func(s *Score) { s.Right++ })
			continue
		}
		score(l.Code, func(s *Score) { s.Wrong++ })
		miss.Wrong = append(miss.Wrong, l.Code)
	}
	for _, want := range test.Expect {
		if !found[want] {
			score(want, func(s *Score) { s.Missed++ })
			miss.Lacks = append(miss.Lacks, want)
		}
	}
	if len(miss.Wrong)+len(miss.Lacks) > 0 {
		m.Misses = append(m.Misses, miss)
	}
}
