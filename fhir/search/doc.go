// Package search knows the R4 search parameters and those a deployment defines: it compiles their
// expressions into accessors, reads the index values of a resource with them (Extract), and turns a
// query string into a typed, checked Query (Parse) whose criteria are a tree of conditions.
//
//	query string --Parse--> Query{Where: Condition tree} --store--> SQL
//	resource ----Extract--> Values (rows) ----------------store--> index tables
//
// A parameter whose rows others hold (Observation.patient, combo-code) reads theirs; conditions name
// what is read. Quantities are kept in the unit they were written in and converted when asked for (Value.In).
//
// It knows neither SQL nor callers. A parameter it cannot serve is an error that names it; nothing is
// ever ignored unless the client asks for lenient handling (R4 3.1.1.2 leaves that open; a silently
// dropped filter would widen the answer), and then Query.Ignored says what.
package search
