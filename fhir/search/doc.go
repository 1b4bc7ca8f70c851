// Package search knows the R4 search parameters: it compiles their expressions into
// accessors, reads the index values of a resource with them (Extract), and turns a
// query string into a typed, checked Query (Parse).
//
// It knows neither SQL nor callers. A parameter it cannot serve is an error that names it;
// nothing is ever ignored (R4 3.1.1.2 leaves that open; a silently dropped filter would
// widen the answer).
package search
