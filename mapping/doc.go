// Package mapping turns the records that recovery organisations keep into FHIR R4 resources.
//
// A mapping is data: a pack is a folder with pack.yaml, a JSON Schema of the native record (or of the rows of a CSV
// file), one mapping file per kind of record, code tables as CSV and golden cases. The mapping file has the shape of
// the FHIR resources it makes; where a value comes from the record it says so with one of a small closed set of
// primitives:
//
//	$copy $const $code $date $unit $split $join $each $when $ref   can be run backwards
//	$text $derive                                                  one-way, and counted as such in the report
//	label, check, ignore                                           sections of the file: see compile.go
//
// Paths name native fields, predicates are CEL. Loading checks everything it can and reports all faults at once with
// file and line and, where it can be guessed, what would mend them: unknown keys, fields the schema does not know, tables
// and columns that do not exist, slots nobody fills, native fields that are neither mapped nor ignored (compile*.go);
// elements, kinds and references that R4 does not have so (shape*.go), what claimed profiles ask for (profile.go), and
// what can never happen (reach.go). Lint adds what is legal and suspicious; export*.go writes packs for other tools.
//
//	record --schema--> checks --> plan (which resources, their ids) --> build (bytes, lineage) --> labels --> Result
//
// The package is pure: no clock, no network, no store; the same record gives the same bytes. It yields label codings
// and does not decide who may see what; it does not validate its output against R4 (whoever takes the result in does).
//
// Enter with Load, then Pack.MapJSON for one JSON record or Pack.MapFiles for the files of a CSV pack.
//
// The engine runs native -> FHIR. Primitives are held as data (see node in nodes.go), so that the other direction is
// a second method on the same tree.
package mapping
