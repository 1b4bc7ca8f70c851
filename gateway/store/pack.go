package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/klauspost/compress/s2"

	"trellis/gateway/audit"
)

// A pack is the leaves of one group commit in one row: for each leaf its id, time, salt, event and data,
// lengths before them, the whole compressed (S2: nearly free for a single leaf, and packs are written once). What is
// erased has length 0.

// errPack is a pack that cannot be read.
var errPack = errors.New("store: a row of audit leaves is damaged")

// packVersion is the first byte of a pack before compression.
const packVersion = 1

func pack(leaves []audit.Leaf) []byte { return s2.Encode(nil, plainPack(leaves)) }

// plainPack is a pack before compression. What stands behind the first byte of another one may be added to it.
func plainPack(leaves []audit.Leaf) []byte {
	size := 1
	for _, l := range leaves {
		size += len(l.ID) + len(l.Salt) + len(l.Event) + len(l.Data) + 32
	}
	plain := append(make([]byte, 0, size), packVersion)
	for _, l := range leaves {
		plain = binary.AppendVarint(plain, l.At.UnixMicro())
		for _, field := range [...][]byte{[]byte(l.ID), l.Salt, l.Event, l.Data} {
			plain = binary.AppendUvarint(plain, uint64(len(field)))
			plain = append(plain, field...)
		}
	}
	return plain
}

func unpack(body []byte) ([]audit.Leaf, error) {
	plain, err := s2.Decode(nil, body)
	if err != nil || len(plain) == 0 || plain[0] != packVersion {
		return nil, errPack
	}
	var out []audit.Leaf
	for plain = plain[1:]; len(plain) > 0; {
		at, n := binary.Varint(plain)
		if n <= 0 {
			return nil, errPack
		}
		plain = plain[n:]
		var fields [4][]byte
		for i := range fields {
			size, n := binary.Uvarint(plain)
			if n <= 0 || size > uint64(len(plain)-n) {
				return nil, errPack
			}
			if size > 0 {
				fields[i] = plain[n : n+int(size) : n+int(size)]
			}
			plain = plain[n+int(size):]
		}
		out = append(out, audit.Leaf{ID: string(fields[0]), At: time.UnixMicro(at).UTC(), Salt: fields[1], Event: fields[2], Data: fields[3]})
	}
	return out, nil
}
