package search

import (
	"net/url"

	"trellis/fhir"
)

// Page sizes (R4 leaves them to the server).
const (
	DefaultCount = 20
	MaxCount     = 1000
)

// Query is a checked search request.
type Query struct {
	Type        string         // "" for a search across types
	Types       []string       // with Type "": the types asked for by _type, sorted; all R4 types when not given
	Compartment fhir.Reference // zero when none: /Patient/x/Observation
	// Patient is set when every match must be in this one Patient's compartment: the compartment itself,
	// or a single patient or subject that confers membership. A store searches that compartment only.
	Patient    string
	Where      And // all must hold
	Sort       []Sort
	Count      int
	CountOnly  bool // _summary=count or _count=0
	Total      Total
	Summary    Summary
	Elements   []string // _elements
	Include    []Include
	RevInclude []Include
	Cursor     string
	Ignored    []string // parameters left out under handling=lenient, names fit to be repeated
	// Used is what was understood, canonically ordered and without the cursor: the self link and the cursor's binding.
	Used url.Values
}

// Sort is one _sort key.
type Sort struct {
	Code       string
	Kind       Kind     // "" for _id and _lastUpdated
	Params     []string // index parameters that hold the key
	Descending bool
}

// Include is one _include or _revinclude: source type and reference parameter, with an optional target type.
type Include struct {
	Source  string
	Code    string   // "*" for all reference parameters of Source
	Params  []string // index parameters to follow
	Target  string   // "" for any
	Iterate bool
	// Whatever marks one of the types that `_revinclude=*` stands for: types that may not be searched are passed over.
	Whatever bool
}

// Total is how a total is wanted (R4 3.1.1.5.5).
type Total int

// The totals.
const (
	TotalNone Total = iota
	TotalEstimate
	TotalAccurate
)

// Summary is what of each resource is wanted (R4 3.1.1.5.8).
type Summary = fhir.Summary

// The summaries.
const (
	SummaryFalse = fhir.SummaryFalse
	SummaryTrue  = fhir.SummaryTrue
	SummaryText  = fhir.SummaryText
	SummaryData  = fhir.SummaryData
	SummaryCount = fhir.SummaryCount
)
