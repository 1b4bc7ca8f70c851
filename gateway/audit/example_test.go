package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"trellis/gateway/audit"
	"trellis/gateway/audit/storetest"
	"trellis/gateway/audit/verify"
)

// The whole path: an event becomes durable, is numbered and signed, exported, and verified by somebody who has only
// the file and the public key.
func Example() {
	ctx, store := context.Background(), &storetest.Memory{}
	skey, vkey, err := audit.NewKey("gateway.example.org/audit")
	if err != nil {
		panic(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		panic(err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		panic(err)
	}

	leaf, err := audit.NewLeaf(audit.Event{Kind: audit.Disclosure, At: time.Now(), Client: "ehr", Patient: "Patient/1"})
	if err != nil {
		panic(err)
	}
	if err := store.Append(ctx, leaf); err != nil {
		panic(err) // nothing may be released
	}
	sequencer := &audit.Sequencer{Store: store, Signer: signer, Verifier: verifier, Holder: "replica-1"}
	if _, err := sequencer.Step(ctx); err != nil {
		panic(err)
	}
	var file bytes.Buffer
	if _, err := audit.Export(ctx, store, signer.Name(), &file); err != nil {
		panic(err)
	}
	report, err := verify.Verify(bytes.NewReader(file.Bytes()), verify.Options{Keys: []note.Verifier{verifier}})
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Origin, report.Size, report.OK())
	// Output: gateway.example.org/audit 1 true
}
