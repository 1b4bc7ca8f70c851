package logfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	leafVersion = "trellis-audit/1"
	// SaltSize is the length of a leaf's salt. It keeps an outsider from guessing at a committed event.
	SaltSize = 16
	timeForm = "2006-01-02T15:04:05.000000Z"
	maxID    = 64
)

// ErrMalformed marks data that does not have the format of this package.
var ErrMalformed = errors.New("malformed audit data")

// FormatTime renders a time as leaves and checkpoints hold it: UTC, microseconds, fixed width.
func FormatTime(t time.Time) string { return t.UTC().Truncate(time.Microsecond).Format(timeForm) }

// ParseTime reads exactly what FormatTime writes.
func ParseTime(text string) (time.Time, error) {
	t, err := time.Parse(timeForm, text)
	if err != nil || FormatTime(t) != text {
		return time.Time{}, ErrMalformed
	}
	return t, nil
}

// ValidID reports whether an id can stand in a leaf: 1 to 64 of [A-Za-z0-9._-], nothing that could break a line.
func ValidID(id string) bool {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// Commitment is SHA-256(salt || event).
func Commitment(salt, event []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(salt)
	h.Write(event)
	return [sha256.Size]byte(h.Sum(nil))
}

// LeafData is the record that goes into the tree.
func LeafData(id string, at time.Time, commitment [sha256.Size]byte) []byte {
	var b bytes.Buffer
	b.WriteString(leafVersion + "\n" + id + "\n" + FormatTime(at) + "\n")
	b.WriteString(base64.StdEncoding.EncodeToString(commitment[:]) + "\n")
	return b.Bytes()
}

// ParseLeafData reads what LeafData wrote, and nothing else.
func ParseLeafData(data []byte) (id string, at time.Time, commitment [sha256.Size]byte, err error) {
	parts := bytes.Split(data, []byte("\n"))
	if len(parts) != 5 || string(parts[0]) != leafVersion || len(parts[4]) != 0 || !ValidID(string(parts[1])) {
		return "", time.Time{}, commitment, ErrMalformed
	}
	if at, err = ParseTime(string(parts[2])); err != nil {
		return "", time.Time{}, commitment, err
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(string(parts[3]))
	if err != nil || len(sum) != sha256.Size {
		return "", time.Time{}, commitment, ErrMalformed
	}
	return string(parts[1]), at, [sha256.Size]byte(sum), nil
}

// LeafHash is the hash of the leaf in the tree.
func LeafHash(id string, at time.Time, commitment [sha256.Size]byte) tlog.Hash {
	return tlog.RecordHash(LeafData(id, at, commitment))
}
