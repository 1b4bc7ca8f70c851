package audit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit/logfile"
)

// Export writes the whole log as one file (format: package logfile) and returns how many lines of each kind it holds.
// Memory does not grow with the log. Rows are written as they stand, damaged ones included.
//
// The file holds events and with them PHI: exporting is a disclosure, and the caller appends an AuditExport event
// first.
func Export(ctx context.Context, store ExportStore, origin string, w io.Writer) (counts logfile.Counts, err error) {
	snap, err := store.Snapshot(ctx)
	if err != nil {
		return counts, fmt.Errorf("audit: opening a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	out := logfile.NewWriter(w)
	size := snap.Size()
	if err := out.Write(&logfile.Line{Kind: logfile.KindHeader, Format: logfile.Version, Origin: origin, Size: &size}); err != nil {
		return counts, err
	}
	for _, section := range []func(context.Context, Snapshot, *logfile.Writer, *logfile.Counts) error{
		exportCheckpoints, exportLeaves, exportHashes, exportUnnumbered,
	} {
		if err := section(ctx, snap, out, &counts); err != nil {
			return counts, fmt.Errorf("audit: exporting: %w", err)
		}
	}
	if err := out.Write(&logfile.Line{Kind: logfile.KindEnd, Counts: &counts}); err != nil {
		return counts, err
	}
	return counts, out.Flush()
}

func exportCheckpoints(ctx context.Context, snap Snapshot, out *logfile.Writer, counts *logfile.Counts) error {
	for note, err := range snap.Checkpoints(ctx) {
		if err != nil {
			return err
		}
		if err := out.Write(&logfile.Line{Kind: logfile.KindCheckpoint, Note: string(note)}); err != nil {
			return err
		}
		counts.Checkpoints++
	}
	return nil
}

func exportLeaves(ctx context.Context, snap Snapshot, out *logfile.Writer, counts *logfile.Counts) error {
	for row, err := range snap.Leaves(ctx) {
		if err != nil {
			return err
		}
		line := leafLine(logfile.KindLeaf, row.Leaf)
		line.Index = &row.Index
		if err := out.Write(line); err != nil {
			return err
		}
		counts.Leaves++
	}
	return nil
}

func exportHashes(ctx context.Context, snap Snapshot, out *logfile.Writer, counts *logfile.Counts) error {
	for h, err := range snap.Hashes(ctx) {
		if err != nil {
			return err
		}
		if err := out.Write(&logfile.Line{Kind: logfile.KindHash, Index: &h.Index, Hash: &h.Hash}); err != nil {
			return err
		}
		counts.Hashes++
	}
	return nil
}

func exportUnnumbered(ctx context.Context, snap Snapshot, out *logfile.Writer, counts *logfile.Counts) error {
	for leaf, err := range snap.Unnumbered(ctx) {
		if err != nil {
			return err
		}
		if err := out.Write(leafLine(logfile.KindUnnumbered, leaf)); err != nil {
			return err
		}
		counts.Unnumbered++
	}
	return nil
}

// leafLine renders a leaf. The commitment comes from Data, not from the event: where they disagree the verifier is to
// see it.
func leafLine(kind string, leaf Leaf) *logfile.Line {
	hash := tlog.RecordHash(leaf.Data)
	line := &logfile.Line{Kind: kind, ID: leaf.ID, At: logfile.FormatTime(leaf.At), Salt: leaf.Salt, Hash: &hash}
	line.SetEvent(leaf.Event)
	if _, _, commitment, err := logfile.ParseLeafData(leaf.Data); err == nil {
		line.Commitment = commitment[:]
	}
	return line
}
