package main

import (
	"fmt"
	"io"
	"strings"

	"trellis/mapping"
)

const mapExplainHelp = `trellis map explain: why an element is what it is, in plain words

Usage:
  trellis map explain --pack PACK [flags] PATH [FILE...]

PATH is a FHIR element (Encounter.status, or Encounter.period for all below it) or a native field (client.birth_date,
goals[].due). Without files: the rules that make or use it. With files: where each such element of these records came
from.

Flags:
%s
Exit status: 0 found, 1 nothing has that name, 2 wrong use.

Examples:
  trellis map explain --pack peer-encounter Encounter.class
  trellis map explain --pack recovery-plan goals[].own_words
  trellis map explain --pack peer-encounter Encounter.status session.json
`

type explanation struct {
	Path    string           `json:"path"`
	Rules   []mapping.Reason `json:"rules"`
	Origins []elementOrigin  `json:"origins,omitempty"`
}

// elementOrigin is where one element of one resource came from.
type elementOrigin struct {
	Resource string `json:"resource"`
	mapping.Lineage
}

func mapExplain(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("explain", mapExplainHelp)
	if code, done := f.parse(fs, usage, args, 1, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map explain:", err)
		return 2
	}
	e := &explanation{Path: fs.Arg(0), Rules: pack.Explain(fs.Arg(0))}
	if fs.NArg() > 1 {
		files, err := readDelivery(fs.Args()[1:])
		if err != nil {
			fmt.Fprintln(stderr, "trellis map explain:", err)
			return 2
		}
		env.Lineage = true
		res, err := mapAll(pack, env, files)
		if err != nil {
			fmt.Fprintln(stderr, "trellis map explain:", err)
			return 1
		}
		e.Origins = originsOf(res, e.Rules)
	}
	if len(e.Rules) == 0 {
		fmt.Fprintf(stderr, "trellis map explain: no rule of %s makes or uses %s; `trellis map coverage --pack %s` lists the fields\n", pack.Name, e.Path, pack.Name)
		return 1
	}
	if f.report == "json" {
		err = writeIndented(stdout, e)
	} else {
		e.write(stdout)
	}
	if err != nil {
		return 1
	}
	return 0
}

// originsOf keeps the lineage of elements that the rules make.
func originsOf(res *mapping.Result, rules []mapping.Reason) []elementOrigin {
	wanted := map[string]bool{}
	for _, r := range rules {
		wanted[r.Rule] = true
	}
	var out []elementOrigin
	for i := range res.Records {
		for _, r := range res.Records[i].Resources {
			for _, l := range r.Lineage {
				if wanted[l.Rule] {
					out = append(out, elementOrigin{r.Type + "/" + r.ID, l})
				}
			}
		}
	}
	return out
}

func (e *explanation) write(w io.Writer) {
	for _, r := range e.Rules {
		fmt.Fprintf(w, "%s %s\n  rule %s\n", r.Element, r.Does, r.Rule)
		for _, c := range r.When {
			fmt.Fprintf(w, "  only when %s\n", c)
		}
		if len(r.Fields) > 0 && !strings.Contains(r.Does, r.Fields[0]) {
			fmt.Fprintf(w, "  reads %s\n", strings.Join(r.Fields, ", "))
		}
	}
	if len(e.Origins) > 0 {
		fmt.Fprintln(w, "\nIn this input")
	}
	for _, o := range e.Origins {
		from := o.Source
		if from == "" {
			from = "computed"
		}
		fmt.Fprintf(w, "  %s %s from %s\n    by %s\n", o.Resource, o.Element, from, o.Rule)
	}
}
