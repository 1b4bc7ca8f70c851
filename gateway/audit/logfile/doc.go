// Package logfile is the format of the audit log: what a leaf commits to, what a checkpoint says, and how an export
// is laid out. It is all that the writer (package audit) and the verifier (package verify) share.
//
// An export is NDJSON, one object per line, in this order:
//
//	header       format version, origin, size (number of numbered leaves)
//	checkpoint*  signed notes by ascending size
//	leaf*        numbered leaves by index: id, time, salt, event, commitment, leaf hash
//	hash*        stored hashes of the tree by stored hash index (tlog.StoredHashIndex), interior ones included
//	unnumbered*  leaves that are durable but not yet in the tree
//	end          counts, so that a cut file is seen
//
// A leaf commits to its event without containing it. Its data, hashed into the tree by RFC 6962 section 2.1, is
//
//	trellis-audit/1
//	<id>
//	<time, UTC, microseconds>
//	<base64 of SHA-256(salt || event)>
//
// A checkpoint is a signed note (C2SP signed-note) with the text of C2SP tlog-checkpoint: origin, size, root hash, and
// one extension line `at <time>`.
//
// The package reads and writes; it judges nothing. Entered through Writer and Reader.
package logfile
