package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MapDelivery maps files whatever the format of the pack: all CSV files of one delivery, or JSON files of one record, an
// array of records or one record after the other. Input that cannot be mapped is in the report and no error.
func (p *Pack) MapDelivery(env Env, files []File) (*Result, error) {
	if p.Format != "csv" {
		return p.mapDocuments(env, files)
	}
	res, err := p.MapFiles(env, files)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return p.Rejected(invalid.Problems), nil
	}
	return res, err
}

func (p *Pack) mapDocuments(env Env, files []File) (*Result, error) {
	res := p.Rejected(nil)
	for _, file := range files {
		records, ok := SplitRecords(file.Data)
		for i, record := range records {
			got, err := p.MapJSON(env, record)
			var invalid *InvalidError
			switch {
			case errors.As(err, &invalid):
				got = p.Rejected(invalid.Problems)
			case err != nil:
				return nil, err
			}
			row := i + 1
			if len(records) == 1 {
				row = 0
			}
			res.Add(got, file.Name, row)
		}
		if !ok {
			res.Add(p.Rejected([]Problem{{
				Code: "not-json", Text: "is not JSON from here on; it was not read", Dropped: true,
			}}), file.Name, len(records)+1)
		}
	}
	return res, nil
}

// SplitRecords takes a file of one record, an array of records or one record after the other apart; false when the
// rest of the file is not JSON.
func SplitRecords(data []byte) ([]json.RawMessage, bool) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	dec := json.NewDecoder(bytes.NewReader(data))
	if len(data) > 0 && data[0] == '[' {
		var list []json.RawMessage
		if err := dec.Decode(&list); err != nil {
			return nil, false
		}
		return list, dec.Decode(new(json.RawMessage)) == io.EOF
	}
	var out []json.RawMessage
	for {
		var one json.RawMessage
		err := dec.Decode(&one)
		if err == io.EOF {
			return out, len(out) > 0
		}
		if err != nil {
			return out, false
		}
		out = append(out, one)
	}
}

// SplitResources takes a Bundle, a resource, an array of either or one after the other apart into resources.
func SplitResources(data []byte) ([][]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	var out [][]byte
	for {
		var one json.RawMessage
		err := dec.Decode(&one)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, &InvalidError{Problems: []Problem{{Code: "not-json", Text: "is not JSON"}}}
		}
		more, err := resourcesOf(one)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
}

func resourcesOf(data json.RawMessage) ([][]byte, error) {
	var list []json.RawMessage
	if json.Unmarshal(data, &list) == nil {
		var out [][]byte
		for _, r := range list {
			more, err := resourcesOf(r)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	}
	var head struct {
		ResourceType string
		Entry        []struct{ Resource json.RawMessage }
	}
	if err := json.Unmarshal(data, &head); err != nil || head.ResourceType == "" {
		return nil, &InvalidError{Problems: []Problem{{Code: "not-fhir", Text: "holds something that is no FHIR resource"}}}
	}
	if head.ResourceType != "Bundle" {
		return [][]byte{data}, nil
	}
	var out [][]byte
	for _, e := range head.Entry {
		if len(e.Resource) > 0 {
			out = append(out, e.Resource)
		}
	}
	return out, nil
}

// Roundtrip is what became of records that went to FHIR and back.
type Roundtrip struct {
	Records   int            `json:"records"`
	Resources int            `json:"resources"`
	Changed   []Difference   `json:"changed"`           // fields that came back otherwise
	Again     []ResourceDiff `json:"again"`             // resources that what came back maps to otherwise
	Refused   []Problem      `json:"refused,omitempty"` // why records that came back could not be mapped again
	Losses    []Loss         `json:"losses"`            // what is not in FHIR, as the pack says
	LeftOut   []Problem      `json:"leftOut"`           // what checks and tables left out of the first run
}

// Whole tells that nothing changed on the way but what the pack says is lost.
func (t *Roundtrip) Whole() bool { return len(t.Changed)+len(t.Again) == 0 }

// maxRefused bounds the reasons in a Roundtrip.
const maxRefused = 20

// GoRound maps files, reads the resources back, and maps what came back again.
func (p *Pack) GoRound(env Env, files []File) (*Roundtrip, error) {
	first, err := p.MapDelivery(env, files)
	if err != nil {
		return nil, err
	}
	var bodies [][]byte
	for i := range first.Records {
		for _, r := range first.Records[i].Resources {
			bodies = append(bodies, r.JSON)
		}
	}
	natives, _, err := p.Back(env, bodies)
	if err != nil {
		return nil, err
	}
	trip := &Roundtrip{Records: len(natives), Resources: len(bodies), Changed: []Difference{}, Losses: first.Report.Losses, LeftOut: []Problem{}}
	for _, pr := range first.Report.Problems {
		if pr.Dropped {
			trip.LeftOut = append(trip.LeftOut, pr)
		}
	}
	var again []File
	if p.Format == "csv" {
		if again, err = p.Rows(natives); err != nil {
			return nil, err
		}
		trip.Changed = p.changedCells(files, again, first.Report.Problems)
	} else {
		for _, n := range natives {
			data, err := json.Marshal(n.Record)
			if err != nil {
				return nil, err
			}
			again = append(again, File{Name: "back", Data: data})
		}
		trip.Changed = p.changedFields(env, files, natives, first.Report.Losses)
	}
	second, err := p.MapDelivery(env, again)
	if err != nil {
		return nil, err
	}
	for _, pr := range second.Report.Problems {
		if pr.Dropped && len(trip.Refused) < maxRefused {
			trip.Refused = append(trip.Refused, pr)
		}
	}
	trip.Again, err = DiffResults(first, second)
	return trip, err
}

// changedFields compares the records that were mapped with those that came back, but for what is lost and what the report
// says was left out.
func (p *Pack) changedFields(env Env, files []File, natives []Native, losses []Loss) []Difference {
	out := []Difference{}
	back := map[string]any{}
	for _, n := range natives {
		back[n.Key] = p.Comparable(n.Record, losses)
	}
	for _, file := range files {
		records, _ := SplitRecords(file.Data)
		for _, data := range records {
			rec, key, err := p.Record(data)
			if err != nil {
				continue // the report of the first run says so
			}
			if res, err := p.MapJSON(env, data); err == nil {
				for i := len(res.Report.Problems) - 1; i >= 0; i-- { // the last items of a list first
					if pr := res.Report.Problems[i]; pr.Dropped {
						cutOut(rec, pr.Pointer)
					}
				}
			}
			if got, ok := back[key]; ok {
				out = append(out, Differences(p.Comparable(rec, losses), got, "")...)
			}
		}
	}
	return out
}

// cutOut removes the value at a JSON pointer.
func cutOut(rec map[string]any, ptr string) bool {
	if ptr == "" || ptr == "/" {
		return false
	}
	segs := strings.Split(ptr[1:], "/")
	var at any = rec
	set := func(any) {}
	for i, s := range segs {
		s = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
		last := i == len(segs)-1
		switch x := at.(type) {
		case map[string]any:
			if last {
				delete(x, s)
				return true
			}
			set = func(v any) { x[s] = v }
			at = x[s]
		case []any:
			var n int
			if _, err := fmt.Sscan(s, &n); err != nil || n >= len(x) {
				return false
			}
			if last {
				set(append(append([]any{}, x[:n]...), x[n+1:]...))
				return true
			}
			set = func(v any) { x[n] = v }
			at = x[n]
		default:
			return false
		}
	}
	return false
}
