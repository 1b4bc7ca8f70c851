package release

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"trellis/auth/access"
)

// TestNoticeIsPinned: the statements of 2.32 are law. A changed letter is a new notice version, and this
// test and access.NoticeVersion change with it.
func TestNoticeIsPinned(t *testing.T) {
	if access.NoticeVersion != "2.32-2024" {
		t.Fatalf("the notice version is %s", access.NoticeVersion)
	}
	for name, c := range map[string]struct{ text, hash string }{
		"short": {StatementShort, "79fee3d6dff7e052183c61b66bfed589f0f45dcf330bb277e07b396bd12e9774"},
		"long":  {StatementLong, "d82205a18044f9f45776343d91e26d8ddb44bf13e136af169ec73d755facd9a8"},
	} {
		sum := sha256.Sum256([]byte(c.text))
		if got := hex.EncodeToString(sum[:]); got != c.hash {
			t.Errorf("the %s statement hashes to %s", name, got)
		}
	}
}

// TestUnknownObligation: what cannot be honoured is not released.
func TestUnknownObligation(t *testing.T) {
	if _, err := obligations(access.Decision{Obligations: []access.Obligation{{Code: "watermark"}}}, nil); err == nil {
		t.Error("an unknown obligation was passed over")
	}
	if _, err := obligations(access.Decision{Obligations: []access.Obligation{{Code: access.ObligeNotice}}}, nil); err == nil {
		t.Error("a notice without a consent to explain was released")
	}
}
