package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit/logfile"
)

// Verify checks an export. The error is about reading the file; what is wrong with the log stands in the report.
func Verify(file io.ReadSeeker, opts Options) (*Report, error) {
	s := &scan{report: &Report{Findings: []Finding{}}, opts: opts, roots: map[int64]tlog.Hash{}}
	s.openKept()
	if err := each(file, s.report, s.line); err != nil {
		return nil, err
	}
	s.finish()
	if s.suspect {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("reading the export again: %w", err)
		}
		if err := diagnose(file, s); err != nil {
			return nil, err
		}
	}
	s.judgeCheckpoints()
	return s.report, nil
}

// each calls f for every line. Lines that cannot be read are reported when report is given, and passed over.
func each(file io.Reader, report *Report, f func(logfile.Line, int)) error {
	lines := logfile.NewReader(file)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, logfile.ErrMalformed):
			if report != nil {
				report.add(Malformed, -1, "", lines.LineNumber(), "line %d cannot be read", lines.LineNumber())
			}
		case err != nil:
			return fmt.Errorf("reading the export: %w", err)
		default:
			f(line, lines.LineNumber())
		}
	}
}

// scan is the state of the first pass.
type scan struct {
	report *Report
	opts   Options

	stage  int // position in the order of kinds
	ended  bool
	header logfile.Line
	counts logfile.Counts

	signed []logfile.Checkpoint // valid checkpoints of the file, by ascending size
	kept   []logfile.Checkpoint

	rows    frontier            // as long as indexes follow one another
	roots   map[int64]tlog.Hash // root over the rows at each signed or kept size
	hashes  hashChecker
	suspect bool // something is wrong with the rows: diagnose
}

// openKept reads the checkpoints the auditor kept. One that does not verify is a finding: it would prove nothing.
func (s *scan) openKept() {
	for i, signed := range s.opts.Kept {
		c, err := logfile.OpenCheckpoint(signed, s.opts.Keys...)
		if err != nil {
			s.report.add(BadSignature, -1, "", 0, "kept checkpoint %d does not verify with the given keys", i+1)
			continue
		}
		s.kept = append(s.kept, c)
		s.roots[c.Size] = tlog.Hash{}
	}
}

// line takes one line of the file, in the order the format demands.
func (s *scan) line(l logfile.Line, number int) {
	order := []string{logfile.KindHeader, logfile.KindCheckpoint, logfile.KindLeaf, logfile.KindHash, logfile.KindUnnumbered, logfile.KindEnd}
	stage := slices.Index(order, l.Kind)
	if stage < s.stage || s.ended || (stage == 0 && s.header.Kind != "") {
		s.report.add(Malformed, -1, "", number, "line %d (%s) stands in the wrong place", number, l.Kind)
		s.suspect = s.suspect || l.Kind == logfile.KindLeaf
		return
	}
	s.stage = stage
	switch l.Kind {
	case logfile.KindHeader:
		s.header = l
		s.report.Origin = l.Origin
		if l.Format != logfile.Version {
			s.report.add(Malformed, -1, "", number, "the file has format %d, this verifier reads %d", l.Format, logfile.Version)
		}
		for _, key := range s.opts.Keys {
			if l.Origin != key.Name() {
				s.report.add(Malformed, -1, "", number, "the file is of log %q, the key of log %q", l.Origin, key.Name())
			}
		}
	case logfile.KindCheckpoint:
		s.counts.Checkpoints++
		s.checkpoint(l, number)
	case logfile.KindLeaf:
		s.counts.Leaves++
		s.leaf(l)
	case logfile.KindHash:
		s.counts.Hashes++
		s.storedHash(l, number)
	case logfile.KindUnnumbered:
		s.counts.Unnumbered++
		s.unnumbered(l, number)
	case logfile.KindEnd:
		s.ended = true
		if *l.Counts != s.counts {
			s.report.add(Malformed, -1, "", number, "the file should hold %d checkpoints, %d rows, %d hashes and %d unnumbered rows, and holds %d, %d, %d and %d",
				l.Counts.Checkpoints, l.Counts.Leaves, l.Counts.Hashes, l.Counts.Unnumbered,
				s.counts.Checkpoints, s.counts.Leaves, s.counts.Hashes, s.counts.Unnumbered)
		}
	}
}

// checkpoint verifies a signature and the order among checkpoints.
func (s *scan) checkpoint(l logfile.Line, number int) {
	c, err := logfile.OpenCheckpoint([]byte(l.Note), s.opts.Keys...)
	if err != nil {
		claimed := "unreadable"
		if c, err := logfile.ParseCheckpoint(logfile.UnsignedText([]byte(l.Note))); err == nil {
			claimed = fmt.Sprintf("of size %d", c.Size)
		}
		s.report.add(BadSignature, -1, "", number, "checkpoint %s (line %d): the signature does not verify", claimed, number)
		return
	}
	if n := len(s.signed); n > 0 {
		last := s.signed[n-1]
		switch {
		case c.Size == last.Size && c.Root != last.Root:
			s.report.add(Inconsistent, -1, "", number, "two signed checkpoints of size %d have different roots: the log was forked", c.Size)
			return
		case c.Size < last.Size || c.At.Before(last.At):
			s.report.add(Inconsistent, -1, "", number, "checkpoint of size %d (line %d) comes after one of size %d but is smaller or older",
				c.Size, number, last.Size)
		}
	}
	s.signed = append(s.signed, c)
	s.roots[c.Size] = tlog.Hash{}
}

// leaf adds a row to the tree. The first row that does not follow its predecessor ends that: diagnose sorts it out.
func (s *scan) leaf(l logfile.Line) {
	hash, sound := rowHash(l)
	if *l.Index != s.rows.size || !sound {
		s.suspect = true
	}
	if len(l.EventData()) == 0 {
		s.report.Erased++
	}
	if s.suspect {
		return
	}
	s.rows.add(hash)
	if _, wanted := s.roots[s.rows.size]; wanted {
		s.roots[s.rows.size] = s.rows.root()
	}
}

// rowHash computes the leaf hash from the row itself. sound is false when the row contradicts its own commitment or
// leaf hash, which tells of a change even where no signed hash reaches.
func rowHash(l logfile.Line) (hash tlog.Hash, sound bool) {
	at, err := logfile.ParseTime(l.At)
	if err != nil {
		return hash, false // logfile has checked it
	}
	var commitment [32]byte
	if event := l.EventData(); len(event) > 0 {
		commitment = logfile.Commitment(l.Salt, event)
		sound = bytes.Equal(commitment[:], l.Commitment)
	} else if len(l.Commitment) == len(commitment) { // erased: only the commitment is left
		commitment, sound = [32]byte(l.Commitment), true
	}
	hash = logfile.LeafHash(l.ID, at, commitment)
	return hash, sound && l.Hash != nil && *l.Hash == hash
}

func (s *scan) storedHash(l logfile.Line, number int) {
	if !s.hashes.add(*l.Index, *l.Hash) {
		level, n := tlog.SplitStoredHashIndex(min(*l.Index, s.hashes.next))
		s.report.add(DamagedHash, n<<level, "", number, "stored hash %d (line %d), over rows %d to %d, is missing, misplaced or wrong",
			*l.Index, number, n<<level, (n+1)<<level-1)
	}
}

func (s *scan) unnumbered(l logfile.Line, number int) {
	if len(s.report.UnnumberedIDs) < maxUnnumbered {
		s.report.UnnumberedIDs = append(s.report.UnnumberedIDs, l.ID)
	}
	if _, sound := rowHash(l); !sound {
		s.report.add(ChangedRow, -1, l.ID, number, "unnumbered row %s (line %d) contradicts its own commitment", l.ID, number)
	}
}

// finish compares the end of the pass with what was signed.
func (s *scan) finish() {
	r := s.report
	r.Rows, r.Unnumbered, r.Checkpoints = s.counts.Leaves, s.counts.Unnumbered, len(s.signed)
	if s.header.Kind == "" || !s.ended {
		r.add(Malformed, -1, "", 0, "the file has no header or no end: it was cut")
	}
	slices.SortStableFunc(s.signed, func(a, b logfile.Checkpoint) int {
		switch {
		case a.Size < b.Size:
			return -1
		case a.Size > b.Size:
			return 1
		}
		return 0
	})
	if len(s.signed) == 0 {
		if r.Rows > 0 || s.header.Kind == "" || *s.header.Size > 0 {
			r.add(Unattested, 0, "", 0, "no checkpoint of the file verifies: nothing is proven about its %d rows", r.Rows)
		}
		return
	}
	latest := s.signed[len(s.signed)-1]
	r.Latest, r.Size = latest, latest.Size
	if s.header.Kind != "" && *s.header.Size != latest.Size {
		r.add(Malformed, -1, "", 0, "the header speaks of %d rows, the latest valid checkpoint covers %d", *s.header.Size, latest.Size)
	}
	if latest.Size == 0 {
		s.roots[0] = emptyRoot()
	}
	if s.rows.size != latest.Size || s.roots[latest.Size] != latest.Root {
		s.suspect = true
	}
	if !s.hashes.bad && (s.hashes.next != tlog.StoredHashCount(latest.Size) || s.hashes.root() != latest.Root) {
		r.add(DamagedHash, -1, "", 0, "the stored hashes do not lead to the root of the checkpoint of size %d", latest.Size)
	}
}

// judgeCheckpoints holds every other checkpoint, and every kept one, against the history that was established.
func (s *scan) judgeCheckpoints() {
	r := s.report
	for _, c := range s.signed {
		if root, known := s.roots[c.Size]; known && root != (tlog.Hash{}) && root != c.Root {
			r.add(Inconsistent, -1, "", 0, "signed checkpoint of size %d does not fit the log signed later", c.Size)
		}
	}
	for _, c := range s.kept {
		root := s.roots[c.Size]
		if c.Size == 0 {
			root = emptyRoot()
		}
		switch {
		case c.Size > r.Size:
			r.add(Truncated, r.Size, "", 0, "the kept checkpoint covers %d rows, the log has %d: rows %d to %d were cut off",
				c.Size, r.Size, r.Size, c.Size-1)
		case root == c.Root:
			r.Kept++
		case root != (tlog.Hash{}):
			r.add(Rewritten, s.lastAgreement(c), "", 0, "rows %d to %d are not those of the kept checkpoint: the log was rewritten and signed again",
				s.lastAgreement(c), c.Size-1)
		default:
			r.add(Inconsistent, 0, "", 0, "whether rows 0 to %d are those of the kept checkpoint cannot be established", c.Size-1)
		}
	}
}

// lastAgreement is the size of the largest other kept checkpoint, below c, that the log still agrees with.
func (s *scan) lastAgreement(c logfile.Checkpoint) int64 {
	var agreed int64
	for _, k := range s.kept {
		if k.Size < c.Size && k.Size > agreed && s.roots[k.Size] == k.Root {
			agreed = k.Size
		}
	}
	return agreed
}
