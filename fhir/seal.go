package fhir

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// InstantLayout is how this server writes instants: UTC, microseconds.
const InstantLayout = "2006-01-02T15:04:05.000000Z"

// Sealed is a resource version as it is stored: the sender's bytes under a head this server wrote.
// Labels are not in it; they are spliced in at MetaEnd when it is released.
type Sealed struct {
	Doc     []byte
	MetaEnd int         // offset of the closing brace of meta
	Refs    []Reference // distinct literal references, for redaction
}

// Seal writes resourceType, id and meta anew and copies every other member verbatim. meta keeps the
// sender's profile, source, tag and extensions; versionId, lastUpdated and security are the server's.
func Seal(r *Resource, id string, version int64, updated time.Time, base string) Sealed {
	out := make([]byte, 0, len(r.JSON)+128)
	out = append(out, `{"resourceType":`...)
	out = append(out, Quote(r.Type)...)
	out = append(out, `,"id":`...)
	out = append(out, Quote(id)...)
	out = append(out, `,"meta":{"versionId":"`...)
	out = strconv.AppendInt(out, version, 10)
	out = append(out, `","lastUpdated":"`...)
	out = updated.UTC().AppendFormat(out, InstantLayout)
	out = append(out, '"')
	for _, m := range r.Root.Get("meta").Members {
		switch m.Name {
		case "versionId", "lastUpdated", "security", "_versionId", "_lastUpdated":
			continue
		}
		out = appendMember(out, m)
	}
	s := Sealed{MetaEnd: len(out)}
	out = append(out, '}')
	for _, m := range r.Root.Members {
		switch m.Name {
		case "resourceType", "id", "meta":
			continue
		}
		out = appendMember(out, m)
	}
	s.Doc = append(out, '}')
	s.Refs = References(r.Root, base)
	return s
}

func appendMember(out []byte, m Member) []byte {
	out = append(out, ',')
	out = append(out, Quote(m.Name)...)
	out = append(out, ':')
	return append(out, m.Value.Raw()...)
}

// ContentHash is equal for two resources that Seal to the same bytes apart from version and time.
func ContentHash(r *Resource, id string) int64 {
	sum := sha256.Sum256(Seal(r, id, 0, time.Time{}, "").Doc)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// Spans is the span table as text, stored beside the body.
func (s Sealed) Spans() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(s.MetaEnd))
	for _, r := range s.Refs {
		b.WriteByte(' ')
		b.WriteString(r.String())
	}
	return b.String()
}

// ReadSpans puts a stored body and its span table together again. A damaged table gives MetaEnd 0,
// which WithSecurity refuses.
func ReadSpans(doc []byte, spans string) Sealed {
	s := Sealed{Doc: doc}
	fields := strings.Fields(spans)
	if len(fields) == 0 {
		return s
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil || n <= 0 || n >= len(doc) || doc[n] != '}' {
		return s
	}
	s.MetaEnd = n
	for _, f := range fields[1:] {
		if typ, id, ok := strings.Cut(f, "/"); ok {
			s.Refs = append(s.Refs, Reference{Type: typ, ID: id})
		}
	}
	return s
}

// WithSecurity is the body with meta.security spliced in. security is a JSON array or empty.
func (s Sealed) WithSecurity(security []byte) ([]byte, bool) {
	if len(security) == 0 && s.whole() {
		return s.Doc, true
	}
	return s.AppendWithSecurity(make([]byte, 0, len(s.Doc)+len(security)+16), security)
}

// AppendWithSecurity appends what WithSecurity gives. A damaged span table appends nothing and reports false.
func (s Sealed) AppendWithSecurity(out, security []byte) ([]byte, bool) {
	if !s.whole() {
		return out, false
	}
	if len(security) == 0 {
		return append(out, s.Doc...), true
	}
	out = append(out, s.Doc[:s.MetaEnd]...)
	out = append(out, `,"security":`...)
	out = append(out, security...)
	return append(out, s.Doc[s.MetaEnd:]...), true
}

// WithoutSource leaves out meta.source.
func (s Sealed) WithoutSource() (Sealed, error) {
	root, err := ParseJSON(s.Doc)
	if err != nil {
		return Sealed{}, err
	}
	out, from := make([]byte, 0, len(s.Doc)), 0
	for _, m := range root.Get("meta").Members {
		if m.Name == "source" || m.Name == "_source" { // Seal wrote a comma before it
			out = append(out, s.Doc[from:m.Start-1]...)
			from = m.Value.End
		}
	}
	cut := len(out)
	out = append(out, s.Doc[from:]...)
	if from > 0 {
		s.MetaEnd -= from - cut
	}
	s.Doc = out
	return s, nil
}

// whole reports whether the span table fits the document.
func (s Sealed) whole() bool {
	return s.MetaEnd > 0 && s.MetaEnd < len(s.Doc) && s.Doc[s.MetaEnd] == '}'
}
