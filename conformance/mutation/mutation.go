// Package mutation shows that the tests notice when an enforcement point is gone. mutations.json lists the points: what
// stands in the source, what an overlay puts in its place, and which tests must then fail. $GONE in a replacement is true
// where the point is taken away. The product itself has no switch for any of them: `make mutation` builds the tests once,
// with `go test -overlay`, as a program in which each point can be taken away, and runs it for one point after the other.
//
// Where two points shield each other (the query's filter and the decision at release), the list takes away the pair as
// well, and each alone is caught by a test of its own or by the gateway's own notice that store and decision disagree.
//
// The package only reads its list; its tests do the rest.
package mutation

import (
	"bytes"
	_ "embed" // the list is data beside this file
	"encoding/json"
	"fmt"
)

//go:embed mutations.json
var list []byte

// Mutation is one enforcement point taken away.
type Mutation struct {
	Name    string `json:"name"`
	Removes string `json:"removes"`
	Package string `json:"package"` // whose tests must fail
	Run     string `json:"run"`     // which of them
	Edits   []Edit `json:"edits"`
}

// Edit replaces a text that occurs once in a file. The same edit may stand in several mutations.
type Edit struct {
	File    string `json:"file"` // from the module's root
	Find    string `json:"find"`
	Replace string `json:"replace"`
}

// Load reads the list.
func Load() ([]Mutation, error) {
	var out []Mutation
	d := json.NewDecoder(bytes.NewReader(list))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("mutation: %w", err)
	}
	return out, nil
}
