package logfile_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit/logfile"
)

// The format is what outsiders verify against: these bytes may never change under version 1.
func TestLeafDataGolden(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	data := logfile.LeafData("id-1", at, logfile.Commitment([]byte("0123456789abcdef"), []byte(`{"kind":"denial"}`)))
	want := "trellis-audit/1\nid-1\n2026-03-01T12:00:00.123456Z\njv/8Fun5D/ZGduqXi6lRQwp8f/CcR+uaVrvyFn7ZukA=\n"
	if string(data) != want {
		t.Errorf("leaf data %q, want %q", data, want)
	}
	if _, _, _, err := logfile.ParseLeafData(data); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", want + "\n", strings.TrimSuffix(want, "\n"), strings.Replace(want, "/1", "/2", 1),
		strings.Replace(want, "id-1", "id 1", 1), strings.Replace(want, "Z", "+00:00", 1), strings.Replace(want, "A=", "B=", 1)} {
		if _, _, _, err := logfile.ParseLeafData([]byte(bad)); !errors.Is(err, logfile.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCheckpoint(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	want := logfile.Checkpoint{Origin: "log.example", Size: 7, Root: tlog.Hash{1, 2}, At: time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC)}
	signed, err := want.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := logfile.OpenCheckpoint(signed, verifier); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if got := logfile.UnsignedText(signed); got != want.Text() {
		t.Errorf("%q", got)
	}
	other := want
	other.Origin = "log.elsewhere"
	signed, err = other.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := logfile.OpenCheckpoint(signed, verifier); !errors.Is(err, logfile.ErrMalformed) {
		t.Errorf("foreign origin: %v", err)
	}
	text := want.Text()
	for _, bad := range []string{"", "\n\n\n\n", text + "more\n", strings.Replace(text, "\n7\n", "\n07\n", 1), strings.Replace(text, "\n7\n", "\n-7\n", 1),
		strings.Replace(text, "at ", "", 1), strings.Replace(text, "AQIA", "AQ", 1)} {
		if _, err := logfile.ParseCheckpoint(bad); !errors.Is(err, logfile.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestReaderBounds(t *testing.T) {
	long := logfile.NewReader(io.MultiReader(strings.NewReader(`{"kind":"`), endless{}))
	if _, err := long.Next(); err == nil || errors.Is(err, logfile.ErrMalformed) || errors.Is(err, io.EOF) {
		t.Errorf("an endless line: %v", err)
	}
	bad := logfile.NewReader(strings.NewReader("{\n{\"kind\":\"end\",\"counts\":{\"checkpoints\":0,\"leaves\":0,\"hashes\":0,\"unnumbered\":0}}\n"))
	if _, err := bad.Next(); !errors.Is(err, logfile.ErrMalformed) {
		t.Error(err)
	}
	if l, err := bad.Next(); err != nil || l.Kind != logfile.KindEnd || bad.LineNumber() != 2 {
		t.Errorf("%+v, %v: reading has to go on after a bad line", l, err)
	}
	if _, err := bad.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Any event comes back byte by byte, JSON or not.
func FuzzEventRoundTrip(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{ "a":1}`, "\xff", `"<"`, "null", "1e400", `{"a":"\u003c"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		l := &logfile.Line{Kind: logfile.KindUnnumbered, ID: "x", At: "2026-03-01T12:00:00.000000Z", Hash: &tlog.Hash{}}
		l.SetEvent(event)
		var b bytes.Buffer
		w := logfile.NewWriter(&b)
		if err := errors.Join(w.Write(l), w.Flush()); err != nil {
			t.Fatal(err)
		}
		got, err := logfile.NewReader(&b).Next()
		if err != nil || !bytes.Equal(got.EventData(), event) {
			t.Fatalf("%q came back as %q, %v", event, got.EventData(), err)
		}
	})
}
