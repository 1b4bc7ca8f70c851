// Package scaffold drafts a mapping pack from a sample of a source's records: the native JSON Schema, a mapping with
// rules for the fields whose names it knows, code tables for the author to fill, and a golden case of made-up values.
//
//	sample --read--> fields with what their values have in common --names.csv--> kinds --> files of a pack
//
// No value of the sample reaches the draft but those of closed lists: few, short, in columns that hold such lists. The
// draft says which. What it cannot decide it ignores with the reason "TODO: decide", which lint reports.
//
// It reads no files and writes none; enter with New.
package scaffold
