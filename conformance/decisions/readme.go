package decisions

import (
	"fmt"
	"strconv"
	"strings"
)

// Readme writes the table an auditor looks a test vector up in: what is proven, by which regulation, and where. A vector
// with neither a proof nor a reason is an error.
func Readme(f Fixture) (string, error) {
	var b strings.Builder
	b.WriteString(readmeHead)
	for n := 1; n <= Vectors; n++ {
		row, err := f.row(n)
		if err != nil {
			return "", err
		}
		b.WriteString(row)
	}
	b.WriteString(readmeTail)
	for _, c := range f.Cases {
		if number(c.ID) == 0 {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.ID, cell(c.Title), cell(c.Rule), c.File)
		}
	}
	return b.String(), nil
}

func (f Fixture) row(n int) (string, error) {
	title, rule := "", ""
	var where []string
	for _, c := range f.Cases {
		if number(c.ID) == n {
			if title == "" {
				title, rule = c.Title, c.Rule
			}
			where = append(where, c.File+" `"+c.ID+"`")
		}
	}
	for _, known := range f.Numbers {
		if known.Number != n {
			continue
		}
		if title == "" {
			title = known.Title
		}
		for _, test := range known.Tests {
			where = append(where, "`"+test+"`")
		}
		if known.Reason != "" {
			where = append(where, "*"+known.Reason+"*")
		}
	}
	if len(where) == 0 || title == "" {
		return "", fmt.Errorf("decisions: number %d is proven nowhere, and no reason is given", n)
	}
	return fmt.Sprintf("| %d | %s | %s | %s |\n", n, cell(title), cell(rule), strings.Join(where, ", ")), nil
}

// number is the test vector a case's id begins with, 0 for none.
func number(id string) int {
	n, err := strconv.Atoi(strings.TrimRight(id, "abcdefghijklmnopqrstuvwxyz"))
	if err != nil {
		return 0
	}
	return n
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

const readmeHead = `# Decisions the gateway is held to

The files here can be read without knowing how the gateway is made:

- ` + "`organizations.json`" + `: who asks, with the legal class of each.
- ` + "`records.json`" + `: what is on file in every case; ` + "`records-more.json` and `consents.json`" + `: what a case adds by name.
- ` + "`cases-*.json`" + `: the cases. Each has a title, the section it rests on, what is given, and steps: who asks for what and for which
  purpose, and what must and must not come back (status, entries, total, texts, notice and scope, the event in the audit log).
  "same_as" names a request that must get the very same answer, "same_statements" that it must run the same statements.

Every case is run over HTTP on both databases (` + "`go test ./cmd/trellis -run TestCases`" + `). The table says for each of the 80 test vectors
where it is proven; what stands in *italics* is not proven yet, or not all of it, and why. It is made from the cases and
` + "`numbers.json`" + ` by ` + "`go test ./conformance/decisions -update`" + `.

| # | what holds | rests on | where |
|---|---|---|---|
`

const readmeTail = `
Further cases, without a number:

| id | what holds | rests on | where |
|---|---|---|---|
`
