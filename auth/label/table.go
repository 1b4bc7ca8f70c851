package label

import (
	"bytes"
	_ "embed" // the code table is data beside this file
	"encoding/csv"
	"fmt"

	"trellis/fhir"
)

//go:embed codes.csv
var codeTable []byte

// New reads the built-in code table (codes.csv: system, match, code, label, note).
func New() (*Classifier, error) {
	rows, err := csv.NewReader(bytes.NewReader(codeTable)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("label: reading the code table: %w", err)
	}
	c := &Classifier{exact: map[fhir.Coding]string{}}
	for i, row := range rows[1:] {
		switch row[1] {
		case "exact":
			c.exact[fhir.Coding{System: row[0], Code: row[2]}] = row[3]
		case "prefix":
			c.prefixes = append(c.prefixes, prefixRule{row[0], row[2], row[3]})
		default:
			return nil, fmt.Errorf("label: code table row %d: unknown match %q", i+2, row[1])
		}
	}
	return c, nil
}
