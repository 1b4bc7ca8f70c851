package decisions

import "encoding/json"

// LabelCase is a story about labels: records written on a fresh installation that holds all records of the fixture, what
// readers then see, and what they see after the rules named in RulesOn are switched on and all records labelled anew.
type LabelCase struct {
	ID      string       `json:"id"`
	Title   string       `json:"title"`
	Rule    string       `json:"rule"`
	Writes  []LabelWrite `json:"writes"`
	Reads   []LabelRead  `json:"reads"`
	RulesOn []string     `json:"rules_on,omitempty"`
	Then    []LabelRead  `json:"then,omitempty"`
}

// LabelWrite is a record put on file by its owner. Several of one id are versions of it.
type LabelWrite struct {
	Owner    string          `json:"owner"`
	Resource json.RawMessage `json:"resource"`
}

// LabelRead is a read, and the labels it comes with; none where the record looks like one that does not exist.
type LabelRead struct {
	As     string `json:"as"`
	Read   string `json:"read"`
	Labels string `json:"labels,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
}

// LabelCases reads labels.json.
func LabelCases() ([]LabelCase, error) {
	var out []LabelCase
	err := read("labels.json", &out)
	return out, err
}
