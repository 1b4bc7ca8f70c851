package store

import (
	"fmt"

	"trellis/fhir"
)

// maxScanned bounds how many bodies one query may read to find words in them.
const maxScanned = 5000

// scanBodies narrows the query to the visible rows whose bodies hold what is asked for.
func (p *plan) scanBodies() error {
	scans := p.scan
	p.scan = nil
	order := p.order
	p.order = nil
	rows, err := p.page(nil, maxScanned+1)
	p.scan, p.order = scans, order
	if err != nil {
		return err
	}
	if len(rows) > maxScanned {
		return fhir.NewProblem(fhir.TooLarge, "too-costly", fmt.Sprintf("search parameter %s: reads the records themselves; narrow the search with another parameter, such as patient", scans[0].Param))
	}
	docs, err := p.s.asReleased(p.ctx, p.tx, p.caller, p.filter, rows, p.now)
	if err != nil {
		return err
	}
	p.found = Int64s{}
	for i, r := range rows {
		holds := true
		for _, scan := range scans {
			holds = holds && scan.Holds(docs[i])
		}
		if holds {
			p.found = append(p.found, r.rid)
		}
	}
	return nil
}
