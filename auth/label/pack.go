package label

import (
	"bytes"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"

	"trellis/fhir"
)

// packFiles is the rule pack: rules.csv names the rules, systems.csv which code system each table is of, the tables
// give codes to rules, combinations.csv sets of codes, words.csv phrases. Whoever changes any of them raises VERSION and
// RulesVersion; a test holds the pack to its hash.
//
//go:embed pack
var packFiles embed.FS

// Rule is one rule of the pack.
type Rule struct {
	ID         string        `json:"id"`
	Kind       string        `json:"kind"` // source, inbound, code, medicine, structure, combination, text, unclassified
	Labels     []fhir.Coding `json:"labels,omitempty"`
	Confidence string        `json:"confidence"` // certain, high, medium, low
	Basis      string        `json:"basis"`
	Status     string        `json:"status"` // confirmed, or to be confirmed by whom the note names
	On         bool          `json:"on"`
	Note       string        `json:"note"`
}

// Fixed reports whether the rule is law rather than policy and cannot be switched off.
func (r Rule) Fixed() bool {
	return r.Kind == "source" || r.Kind == "inbound" || r.Kind == "unclassified"
}

// The rules that are no rows of a table.
const (
	ruleSource       = "source.part2"
	ruleInbound      = "inbound.label"
	ruleMapped       = "mapped.label"
	ruleProgram      = "structure.program"
	ruleUnclassified = "unclassified"
)

// Config is a deployment's choice among the rules.
type Config struct {
	Off []string // ids of rules switched off
	On  []string // ids of rules that are off by default, switched on
	// Programs knows the Part 2 programs; nil knows none, and the structure rule never fires. Scope names what it knows:
	// with another scope records are labelled anew.
	Programs Programs
	Scope    []string
}

// Programs says which references lead to a Part 2 program: the organisation itself, or a place, service or role of it.
type Programs interface {
	Program(reference string) bool
}

// table is the codes of one kind of code system.
type table struct {
	covers   bool // a main code in it says what a record is about
	dotless  bool // ICD: F11.20 and F1120 are one code
	exact    map[string][]int
	prefixes map[string][]int
	longest  int
	ranges   []codeRange
	parts    map[string][]part
}

type codeRange struct {
	from, to string
	rule     int
}

// part is a share of a combination rule.
type part struct {
	rule int
	name string
}

// New reads the built-in pack as it is delivered.
func New() (*Classifier, error) { return Load(Config{}) }

// Load reads the built-in pack with a deployment's choices. An unknown rule, or one that cannot be switched, is an error.
func Load(cfg Config) (*Classifier, error) {
	c := &Classifier{systems: map[string]*table{}, byID: map[string]int{}, programs: cfg.Programs, need: map[int]int{}}
	for _, step := range []func() error{c.readRules, func() error { return c.choose(cfg) }, c.readSystems, c.readCombinations, c.readWords} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("label: the rule pack: %w", err)
		}
	}
	return c, nil
}

func (c *Classifier) readRules() error {
	return rows("rules.csv", "rule,kind,labels,confidence,basis,status,default,note", func(row []string) error {
		r := Rule{ID: row[0], Kind: row[1], Confidence: row[3], Basis: row[4], Status: row[5], On: row[6] == "on", Note: row[7]}
		for _, l := range strings.Fields(row[2]) {
			coding := fhir.Coding{System: fhir.SystemActCode, Code: l}
			if local, ok := strings.CutPrefix(l, "local:"); ok {
				coding = fhir.Coding{System: SystemLocalLabel, Code: local}
			}
			r.Labels = append(r.Labels, coding)
		}
		if _, twice := c.byID[r.ID]; twice {
			return fmt.Errorf("rule %s stands twice", r.ID)
		}
		c.byID[r.ID] = len(c.rules)
		c.rules = append(c.rules, r)
		return nil
	})
}

func (c *Classifier) choose(cfg Config) error {
	version, err := packFiles.ReadFile("pack/VERSION")
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(version)) != RulesVersion {
		return errors.New("VERSION is not RulesVersion")
	}
	c.version = RulesVersion
	for _, set := range []struct {
		ids []string
		on  bool
	}{{cfg.Off, false}, {cfg.On, true}} {
		for _, id := range set.ids {
			i, ok := c.byID[id]
			if !ok {
				return fmt.Errorf("no rule %q; `trellis label rules` lists them", id)
			}
			if c.rules[i].Fixed() {
				return fmt.Errorf("the rule %s is law and cannot be switched", id)
			}
			if c.rules[i].On != set.on {
				c.rules[i].On = set.on
				c.switched = append(c.switched, fmt.Sprintf("%s=%t", id, set.on))
			}
		}
	}
	slices.Sort(c.switched)
	if choice := append(slices.Clone(c.switched), cfg.Scope...); len(choice) > 0 {
		c.version += "+" + digest(choice)[:12]
	}
	return nil
}

// rule is the index of a rule a table names, -1 when it is switched off.
func (c *Classifier) rule(id string) (int, error) {
	i, ok := c.byID[id]
	switch {
	case !ok:
		return 0, fmt.Errorf("no rule %q", id)
	case !c.rules[i].On:
		return -1, nil
	}
	return i, nil
}

func (c *Classifier) readSystems() error {
	tables := map[string]*table{}
	err := rows("systems.csv", "table,system,covers", func(row []string) error {
		t := tables[row[0]]
		if t == nil {
			t = &table{covers: row[2] == "yes", dotless: row[0] == "icd10cm", exact: map[string][]int{}, prefixes: map[string][]int{}, parts: map[string][]part{}}
			tables[row[0]] = t
			if err := c.readTable(row[0], t); err != nil {
				return err
			}
		}
		c.systems[row[1]] = t
		return nil
	})
	c.tables = tables
	return err
}

func (c *Classifier) readTable(name string, t *table) error {
	return rows(name+".csv", "rule,match,code,note", func(row []string) error {
		i, err := c.rule(row[0])
		if err != nil || i < 0 {
			return err
		}
		code := t.normal(row[2])
		switch row[1] {
		case "exact":
			t.exact[code] = append(t.exact[code], i)
		case "prefix":
			t.prefixes[code] = append(t.prefixes[code], i)
			t.longest = max(t.longest, len(code))
		case "range":
			from, to, ok := strings.Cut(code, "-")
			if !ok || len(from) != len(to) || from > to {
				return fmt.Errorf("the range %s is none", row[2])
			}
			t.ranges = append(t.ranges, codeRange{from, to, i})
		default:
			return fmt.Errorf("unknown match %q", row[1])
		}
		return nil
	})
}

func (c *Classifier) readCombinations() error {
	seen := map[part]bool{}
	return rows("combinations.csv", "rule,part,table,code,note", func(row []string) error {
		i, err := c.rule(row[0])
		if err != nil || i < 0 {
			return err
		}
		t := c.tables[row[2]]
		if t == nil {
			return fmt.Errorf("no table %q", row[2])
		}
		p := part{i, row[1]}
		if !seen[p] {
			seen[p] = true
			c.need[i]++
		}
		code := t.normal(row[3])
		t.parts[code] = append(t.parts[code], p)
		return nil
	})
}

func (c *Classifier) readWords() error {
	return rows("words.csv", "rule,phrase", func(row []string) error {
		i, err := c.rule(row[0])
		if err != nil || i < 0 {
			return err
		}
		switch c.rules[i].Kind {
		case "medicine":
			c.medicines.add(row[1], i)
		case "text":
			c.words.add(row[1], i)
		default:
			return fmt.Errorf("rule %s takes no words", row[0])
		}
		return nil
	})
}

// rows reads a CSV file of the pack and hands its rows on, the header checked and left out.
func rows(name, header string, each func(row []string) error) error {
	data, err := packFiles.ReadFile("pack/" + name)
	if err != nil {
		return err
	}
	r := csv.NewReader(bytes.NewReader(data))
	all, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(all) == 0 || strings.Join(all[0], ",") != header {
		return fmt.Errorf("%s: the header is not %s", name, header)
	}
	for i, row := range all[1:] {
		if err := each(row); err != nil {
			return fmt.Errorf("%s, row %d: %w", name, i+2, err)
		}
	}
	return nil
}

// normal is a code as tables keep it.
func (t *table) normal(code string) string {
	if t.dotless {
		return strings.ToUpper(strings.ReplaceAll(code, ".", ""))
	}
	return code
}

// lookup gives the rules of a code: those of the very code, else of the longest prefix, else of ranges.
func (t *table) lookup(code string) []int {
	if found := t.exact[code]; found != nil {
		return found
	}
	for n := min(t.longest, len(code)); n > 0; n-- {
		if found := t.prefixes[code[:n]]; found != nil {
			return found
		}
	}
	for i, r := range t.ranges {
		if len(code) == len(r.from) && r.from <= code && code <= r.to {
			return []int{t.ranges[i].rule}
		}
	}
	return nil
}

// Rules lists the pack as this deployment uses it.
func (c *Classifier) Rules() []Rule { return slices.Clone(c.rules) }

// Version names the pack together with what the deployment switched: records labelled under another one are labelled anew.
func (c *Classifier) Version() string { return c.version }

// Switched lists the rules that differ from the pack as delivered, as id=true or id=false.
func (c *Classifier) Switched() []string { return slices.Clone(c.switched) }
