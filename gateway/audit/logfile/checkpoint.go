package logfile

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is a statement about the whole log: it has Size leaves and this root.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	At     time.Time // when it was signed
}

// Text is the body of the note, C2SP tlog-checkpoint with one extension line.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\nat %s\n", c.Origin, c.Size, c.Root, FormatTime(c.At))
}

// Sign returns the signed note.
func (c Checkpoint) Sign(signer note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.Text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return signed, nil
}

// OpenCheckpoint verifies the note's signature with one of the keys and reads it. The origin has to be the name of the
// key. Errors of the signature are those of package note; a text that is no checkpoint is ErrMalformed.
func OpenCheckpoint(signed []byte, keys ...note.Verifier) (Checkpoint, error) {
	opened, err := note.Open(signed, note.VerifierList(keys...))
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := ParseCheckpoint(opened.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != opened.Sigs[0].Name {
		return Checkpoint{}, fmt.Errorf("%w: origin is not the key's name", ErrMalformed)
	}
	return c, nil
}

// ParseCheckpoint reads the text of a checkpoint, whoever signed it.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[0] == "" || lines[4] != "" {
		return Checkpoint{}, ErrMalformed
	}
	c := Checkpoint{Origin: lines[0]}
	var err error
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 || strconv.FormatInt(c.Size, 10) != lines[1] {
		return Checkpoint{}, ErrMalformed
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, ErrMalformed
	}
	c.Root = tlog.Hash(root)
	at, ok := strings.CutPrefix(lines[3], "at ")
	if !ok {
		return Checkpoint{}, ErrMalformed
	}
	if c.At, err = ParseTime(at); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// UnsignedText returns the text of a signed note without looking at the signatures: for saying which checkpoint it is
// whose signature does not verify, never for believing it.
func UnsignedText(signed []byte) string {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	return text + "\n"
}
