package audit

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEncodeIsWhatJSONSays holds the hand-written form to encoding/json's, byte for byte.
func TestEncodeIsWhatJSONSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Event{
			ID: rapid.String().Draw(t, "id"), Kind: Kind(rapid.String().Draw(t, "kind")), At: time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "at")).UTC(),
			Client: rapid.String().Draw(t, "client"), Patient: rapid.String().Draw(t, "patient"), Query: rapid.SliceOf(rapid.Byte()).Draw(t, "query"),
			Purpose: rapid.StringN(0, 4, -1).Draw(t, "purpose"), Outcome: rapid.String().Draw(t, "outcome"), ReleasedBytes: rapid.Int64().Draw(t, "bytes"),
			User: rapid.String().Draw(t, "user"), Capacity: rapid.String().Draw(t, "capacity"), Launch: rapid.String().Draw(t, "launch"),
			Detail: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "detail"), Released: rapid.String().Draw(t, "released"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "resources") {
			e.Resources = append(e.Resources, Resource{rapid.String().Draw(t, "type"), rapid.String().Draw(t, "rid"), rapid.String().Draw(t, "version"), ""})
		}
		if rapid.Bool().Draw(t, "decided") {
			decision, err := json.Marshal(map[string]string{"code": rapid.String().Draw(t, "code")})
			if err != nil {
				t.Fatal(err)
			}
			e.Decision = decision
		}
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := encode(nil, &e)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got  %s\nwant %s, %v", got, want, err)
		}
	})
}

// TestEncodeRefusesBrokenDecisions: what is not JSON would make the whole event unreadable.
func TestEncodeRefusesBrokenDecisions(t *testing.T) {
	if _, err := encode(nil, &Event{Decision: []byte(`{"a":`)}); err == nil {
		t.Error("a broken decision was taken")
	}
}
