// Package audit writes the tamper-evident log: events, their leaves, the sequencer that numbers and signs, the export.
//
//	handler ── NewLeaf(event) ──> Store.Append        durable: bytes may be released
//	                                   │
//	Sequencer (one, fenced) ── Unnumbered ── Number   within a second: index, tree hashes, signed checkpoint
//	                                   │
//	Export ── Snapshot ──> file ──> package verify    offline, with the file and a public key only
//
// Log before release: an event is a promise only once Append has returned; when it fails nothing may be released.
// Numbering comes later and is not waited for. The tree (RFC 6962, by sumdb/tlog) holds salted commitments, no event:
// an event can be erased lawfully, and the proof of everything else stays valid.
//
// The package stores nothing itself (storetest is the contract of its Store), knows no HTTP, and decides nothing about
// who may see the log. It detects edits, removals, reordering and forks; it cannot detect an event never written.
//
// Entered through NewLeaf, Sequencer and Export. The file format is package logfile.
package audit
