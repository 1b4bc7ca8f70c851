package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"trellis/fhir"
)

// The encodings of body.doc: the span table and the document, compressed or as they are.
const (
	encRaw  = 0
	encZstd = 1
	encDict = 2 // zstd with the dictionary of this file
)

// errBody is a stored body that cannot be read.
var errBody = errors.New("store: a stored body cannot be read")

// compress packs a sealed document for storage.
func (s *Store) compress(sealed fhir.Sealed) (int64, []byte) {
	spans := sealed.Spans()
	plain := make([]byte, 0, len(sealed.Doc)+len(spans)+4)
	plain = binary.AppendUvarint(plain, uint64(len(spans)))
	plain = append(plain, spans...)
	plain = append(plain, sealed.Doc...)
	packed := s.zstdEnc.EncodeAll(plain, make([]byte, 0, len(plain)/2))
	if len(packed) >= len(plain) {
		return encRaw, plain
	}
	return encDict, packed
}

// decompress reads what compress packed. Nothing is nothing: a deleted version has no document.
func (s *Store) decompress(enc int64, doc []byte) (fhir.Sealed, error) {
	if len(doc) == 0 {
		return fhir.Sealed{}, nil
	}
	plain := doc
	if enc == encRaw {
		plain = bytes.Clone(doc) // the row's own bytes may not outlive it
	} else {
		var err error
		if plain, err = s.zstdDec.DecodeAll(doc, nil); err != nil {
			return fhir.Sealed{}, errBody
		}
	}
	size, n := binary.Uvarint(plain)
	if n <= 0 || size > uint64(len(plain)-n) {
		return fhir.Sealed{}, errBody
	}
	return fhir.ReadSpans(plain[n+int(size):], string(plain[n:n+int(size)])), nil
}

// bodyDictionary is what FHIR documents have in common: zstd finds repeats of it in documents too short to have
// any of their own. Its id is part of every body packed with it, so it never changes; a better one is a new
// encoding.
func bodyDictionary() []byte { return []byte(strings.Join(commonText[:], "\n")) }

// bodyDictionaryID names the dictionary in the frames that use it.
const bodyDictionaryID = 0x7472656c
