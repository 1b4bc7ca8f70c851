package access

import (
	"bytes"
	_ "embed" // the table of rules is data beside this file
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
)

//go:embed rules.csv
var ruleTable []byte

// Rule is one rule of the decision, as counsel reads it. Decisions name it by ID.
type Rule struct {
	ID      string
	Section string // of 42 CFR part 2 or 45 CFR part 164; "" for a rule of ours
	// Status is how sure the reading is: "read" in its primary source, "to be confirmed" by counsel, or "ours".
	Status string
	// Standard is what holds when nobody says otherwise: "on", "off", or "fixed", which cannot be switched.
	Standard string
	Text     string
}

// Rules lists the rules of this version in the order of the table.
func Rules() ([]Rule, error) {
	rows, err := csv.NewReader(bytes.NewReader(ruleTable)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("access: reading the table of rules: %w", err)
	}
	out := make([]Rule, 0, len(rows))
	for _, r := range rows[1:] {
		out = append(out, Rule{r[0], r[1], r[2], r[3], r[4]})
	}
	return out, nil
}

// Switches is what a deployment's counsel changed: rules that are off, or on though the standard is off. The zero value is
// the standard. It is text, "-D12-audit-on-premises +H4-public-health" with the names sorted, so that a decision can name it and
// equal settings are equal.
type Switches string

// NewSwitches reads rules to turn off and on; an unknown rule, or one that cannot be switched, is an error.
func NewSwitches(off, on []string) (Switches, error) {
	rules, err := Rules()
	if err != nil {
		return "", err
	}
	var words []string
	add := func(id, standard, sign string) error {
		at := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
		switch {
		case at < 0:
			return fmt.Errorf("access: there is no rule %q", id)
		case rules[at].Standard == "fixed":
			return fmt.Errorf("access: rule %s cannot be switched", id)
		case rules[at].Standard == standard:
			words = append(words, sign+id)
		}
		return nil
	}
	for _, id := range off {
		if err := add(id, "on", "-"); err != nil {
			return "", err
		}
	}
	for _, id := range on {
		if err := add(id, "off", "+"); err != nil {
			return "", err
		}
	}
	slices.Sort(words)
	return Switches(strings.Join(slices.Compact(words), " ")), nil
}

// Off reports whether a rule that is on by standard was turned off.
func (s Switches) Off(id string) bool {
	return s != "" && slices.Contains(strings.Fields(string(s)), "-"+id)
}

// On reports whether a rule that is off by standard was turned on.
func (s Switches) On(id string) bool {
	return s != "" && slices.Contains(strings.Fields(string(s)), "+"+id)
}

// Policy names the rules a decision was made by: their version, and what counsel changed.
func (s Switches) Policy() string {
	if s == "" {
		return PolicyVersion
	}
	return PolicyVersion + " " + string(s)
}
