package fhir

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
)

// checkBytes is how much of a Bundle is worth a goroutine of its own.
const checkBytes = 32 << 10

// check is google/fhir's structural check. It takes most of the time of a write: the entries of a large Bundle are checked
// on all cores, so that whoever sends one does not wait for one of them.
func (p *Parser) check(r *Resource) error {
	parts := bundleParts(r, min(runtime.GOMAXPROCS(0), len(r.JSON)/checkBytes))
	if len(parts) == 1 {
		_, err := p.unmarshal.Unmarshal(parts[0])
		return err
	}
	errs, panics := make([]error, len(parts)), make([]any, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			_, errs[i] = p.unmarshal.Unmarshal(part)
		})
	}
	wg.Wait()
	for _, v := range panics {
		if v != nil {
			panic(v) // where the request's own recovery sees it
		}
	}
	return errors.Join(errs...)
}

// bundleParts cuts a Bundle into up to n Bundles that have its entries in their places, each in one of them and an empty entry
// in the others; the first has the rest of the Bundle. What is wrong with them is what is wrong with it, with the same paths.
// Any other resource is one part.
func bundleParts(r *Resource, n int) [][]byte {
	entries := r.Root.Get("entry")
	if n = min(n, len(entries.Items)); r.Type != "Bundle" || entries.Kind != '[' || n < 2 {
		return [][]byte{r.JSON}
	}
	parts := make([][]byte, 0, n)
	share := (entries.End - entries.Start) / n
	for from := 0; from < len(entries.Items); {
		to, size := from, 0
		for ; to < len(entries.Items) && (size < share || len(parts) == n-1); to++ {
			size += entries.Items[to].End - entries.Items[to].Start
		}
		var part []byte
		if from == 0 {
			part = append(part, r.JSON[:entries.Start]...)
		} else {
			part = append(part, `{"resourceType":"Bundle","type":"collection","entry":`...)
		}
		part = append(part, '[')
		part = append(part, bytes.Repeat([]byte("{},"), from)...)
		part = append(part, r.JSON[entries.Items[from].Start:entries.Items[to-1].End]...)
		part = append(part, bytes.Repeat([]byte(",{}"), len(entries.Items)-to)...)
		part = append(part, ']')
		if from == 0 {
			part = append(part, r.JSON[entries.End:]...)
		} else {
			part = append(part, '}')
		}
		parts = append(parts, part)
		from = to
	}
	return parts
}
