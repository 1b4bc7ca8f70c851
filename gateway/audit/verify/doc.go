// Package verify checks an exported audit log offline, with nothing but the file and the log's public key, and names
// what was tampered with.
//
// It shares the file format (package logfile) with the writer and nothing else: no store, no sequencer, no event type.
//
//	scan      one pass, constant memory: signatures, order, every row's hash, the root at every signed size.
//	          All roots right -> done.
//	diagnose  only when something is wrong: a second pass, everything in memory (about 300 bytes a row). Stored
//	          hashes that lead up to a signed root tell which leaf hash belongs at which index; each row is held
//	          against that. Where they do not reach, the last checkpoint that still fits bounds the change.
//
// What is in the file proves that the log was not changed after signing. That it is the log the auditor saw before,
// neither cut off nor rewritten and signed again, only a checkpoint kept since then can prove: Options.Kept.
//
// Entered through Verify.
package verify
