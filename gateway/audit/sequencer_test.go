package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"trellis/gateway/audit"
	"trellis/gateway/audit/logfile"
	"trellis/gateway/audit/storetest"
	"trellis/gateway/audit/verify"
)

func appendRows(t testing.TB, log *storetest.Memory, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := log.Append(t.Context(), storetest.Leaf(t, fmt.Sprintf("row-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
}

func sequencer(t testing.TB, log audit.Store, holder string) *audit.Sequencer {
	t.Helper()
	signer, key := storetest.Keys(t, "log.example")
	return &audit.Sequencer{Store: log, Signer: signer, Verifier: key, Holder: holder, Batch: 4}
}

func TestStepNumbersAndSigns(t *testing.T) {
	log := &storetest.Memory{}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := sequencer(t, log, "one")
	s.Now = func() time.Time { return at }
	appendRows(t, log, 0, 6)
	for _, want := range []int{4, 2, 0} {
		if n, err := s.Step(t.Context()); n != want || err != nil {
			t.Fatalf("step numbered %d, %v; want %d", n, err, want)
		}
	}
	size, signed, err := log.Head(t.Context())
	if err != nil || size != 6 {
		t.Fatal(size, err)
	}
	c, err := logfile.OpenCheckpoint(signed, s.Verifier)
	if err != nil || c.Size != 6 || c.Origin != "log.example" || !c.At.Equal(at) {
		t.Errorf("checkpoint %+v, %v", c, err)
	}
	// C2SP tlog-checkpoint: origin, size, root, extension; blank line; signature line.
	lines := strings.Split(string(signed), "\n")
	if len(lines) != 7 || lines[0] != "log.example" || lines[1] != "6" || lines[4] != "" || !strings.HasPrefix(lines[5], "— log.example ") {
		t.Errorf("not a checkpoint:\n%s", signed)
	}
}

func TestSecondReplicaDoesNothing(t *testing.T) {
	log := &storetest.Memory{}
	one := sequencer(t, log, "one")
	two := *one
	two.Holder = "two"
	appendRows(t, log, 0, 2)
	if n, err := one.Step(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	appendRows(t, log, 2, 4)
	if n, err := two.Step(t.Context()); n != 0 || err != nil {
		t.Errorf("the second replica numbered %d, %v", n, err)
	}
}

// stalled is a store whose Number waits until another replica has taken the lease: a process that paused at the worst
// moment.
type stalled struct {
	*storetest.Memory
	meanwhile func()
}

func (s stalled) Number(ctx context.Context, b audit.Batch) error {
	s.meanwhile()
	return s.Memory.Number(ctx, b)
}

func TestStaleFenceCannotWrite(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	log := &storetest.Memory{Now: func() time.Time { return now }}
	appendRows(t, log, 0, 3)
	one := sequencer(t, nil, "one")
	two := *one
	two.Store, two.Holder = log, "two"
	one.Store = stalled{log, func() {
		now = now.Add(time.Minute)
		if n, err := two.Step(t.Context()); n != 3 || err != nil {
			t.Fatal(n, err)
		}
	}}
	if n, err := one.Step(t.Context()); n != 0 || !errors.Is(err, audit.ErrFenced) {
		t.Errorf("the paused replica numbered %d, %v; want ErrFenced", n, err)
	}
	intact(t, log, one, 3)
}

func intact(t testing.TB, log *storetest.Memory, s *audit.Sequencer, size int64) {
	t.Helper()
	var file bytes.Buffer
	if _, err := audit.Export(context.Background(), log, s.Signer.Name(), &file); err != nil {
		t.Fatal(err)
	}
	r, err := verify.Verify(bytes.NewReader(file.Bytes()), verify.Options{Keys: []note.Verifier{s.Verifier}})
	if err != nil || !r.OK() || r.Size != size {
		t.Errorf("%+v, %v; want %d intact rows", r, err, size)
	}
}

func TestRefusesToBuildOnDamage(t *testing.T) {
	log := &storetest.Memory{}
	s := sequencer(t, log, "one")
	appendRows(t, log, 0, 3)
	if _, err := s.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.TamperHash(tlog.StoredHashIndex(1, 0), tlog.Hash{1})
	appendRows(t, log, 3, 4)
	if n, err := s.Step(t.Context()); n != 0 || !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("step over damage: %d, %v", n, err)
	}
	other := sequencer(t, log, "one") // another key
	if n, err := other.Step(t.Context()); n != 0 || !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("step over a foreign checkpoint: %d, %v", n, err)
	}
}

func TestRun(t *testing.T) {
	log := &storetest.Memory{}
	s := sequencer(t, log, "one")
	tick, steps := make(chan time.Time), make(chan int, 100)
	s.Tick, s.OnStep = tick, func(n int, err error) {
		if err != nil {
			t.Error(err)
		}
		steps <- n
	}
	appendRows(t, log, 0, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	for _, want := range []int{4, 4, 2} { // full batches follow one another without waiting
		if n := <-steps; n != want {
			t.Errorf("step numbered %d, want %d", n, want)
		}
	}
	appendRows(t, log, 10, 11)
	tick <- time.Time{}
	if n := <-steps; n != 1 {
		t.Errorf("step numbered %d, want 1", n)
	}
	cancel()
	<-done
	if _, ok, err := log.AcquireLease(t.Context(), "two", time.Hour); !ok || err != nil {
		t.Errorf("the lease was not given up: %v", err)
	}
	intact(t, log, s, 11)
}

func TestAnySplitIntoStepsIsIntact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		log := &storetest.Memory{}
		s := sequencer(t, log, "one")
		n := 0
		for _, k := range rapid.SliceOfN(rapid.IntRange(0, 9), 0, 6).Draw(rt, "appended") {
			appendRows(t, log, n, n+k)
			n += k
			s.Batch = rapid.IntRange(1, 20).Draw(rt, "batch")
			for {
				numbered, err := s.Step(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				if numbered < s.Batch {
					break
				}
			}
		}
		intact(t, log, s, int64(n))
	})
}

func TestNewLeaf(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 0, 0, 123456789, time.FixedZone("", 3600))
	one := audit.Event{Kind: audit.Denial, At: at, Patient: "Patient/CANARY", Query: []byte("name=CANARY"),
		Decision: json.RawMessage(`{ "effect": "deny" }`), Detail: map[string]string{"b": "2", "a": "1"}}
	leaf, err := audit.NewLeaf(one, one)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(leaf.Data, []byte("CANARY")) || len(leaf.Salt) != logfile.SaltSize {
		t.Errorf("leaf data %q", leaf.Data)
	}
	events, err := audit.Events(leaf.Event)
	if err != nil || len(events) != 2 || events[0].ID != leaf.ID || events[1].ID == leaf.ID ||
		!leaf.At.Equal(at.Truncate(time.Microsecond)) || events[0].At.Location() != time.UTC {
		t.Errorf("events %+v, %v", events, err)
	}
	id, when, sum, err := logfile.ParseLeafData(leaf.Data)
	if err != nil || id != leaf.ID || !when.Equal(leaf.At) || sum != logfile.Commitment(leaf.Salt, leaf.Event) {
		t.Errorf("data %q: %v", leaf.Data, err)
	}
	// Deterministic: the same event gives the same bytes, salted differently.
	one.ID = "fixed"
	a, errA := audit.NewLeaf(one)
	b, errB := audit.NewLeaf(one)
	if errA != nil || errB != nil || !bytes.Equal(a.Event, b.Event) || bytes.Equal(a.Salt, b.Salt) || bytes.Equal(a.Data, b.Data) {
		t.Errorf("%s\n%s", a.Event, b.Event)
	}
	back, err := audit.Events(a.Event)
	one.At, one.Decision = one.At.UTC().Truncate(time.Microsecond), json.RawMessage(`{"effect":"deny"}`)
	if diff := cmp.Diff([]audit.Event{one}, back); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, bad := range map[string]audit.Event{
		"no kind":  {At: at},
		"no time":  {Kind: audit.Write},
		"bad id":   {Kind: audit.Write, At: at, ID: "a\nb"},
		"decision": {Kind: audit.Write, At: at, Decision: json.RawMessage("CANARY{")},
		"too big":  {Kind: audit.Write, At: at, Query: make([]byte, logfile.MaxLine)},
	} {
		if _, err := audit.NewLeaf(bad); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := audit.NewLeaf(); err == nil {
		t.Error("a leaf without event")
	}
}

func TestKeyRotation(t *testing.T) {
	log := &storetest.Memory{}
	old := sequencer(t, log, "one")
	appendRows(t, log, 0, 3)
	if _, err := old.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh := sequencer(t, log, "one")
	fresh.Retired = []note.Verifier{old.Verifier}
	appendRows(t, log, 3, 5)
	if n, err := fresh.Step(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	var file bytes.Buffer
	if _, err := audit.Export(t.Context(), log, "log.example", &file); err != nil {
		t.Fatal(err)
	}
	for keys, ok := range map[int]bool{1: false, 2: true} {
		r, err := verify.Verify(bytes.NewReader(file.Bytes()), verify.Options{Keys: []note.Verifier{fresh.Verifier, old.Verifier}[:keys]})
		if err != nil || r.OK() != ok || r.Size != 5 {
			t.Errorf("%d keys: %+v, %v", keys, r, err)
		}
	}
}

// writes counts what costs an fsync.
type writes struct {
	*storetest.Memory
	leases int
}

func (w *writes) AcquireLease(ctx context.Context, holder string, ttl time.Duration) (int64, bool, error) {
	w.leases++
	return w.Memory.AcquireLease(ctx, holder, ttl)
}

func TestIdleWritesNothing(t *testing.T) {
	log := &writes{Memory: &storetest.Memory{}}
	s := sequencer(t, log, "one")
	for range 10 {
		if n, err := s.Step(t.Context()); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	if log.leases != 0 {
		t.Errorf("%d writes while idle", log.leases)
	}
	for i := range 10 {
		appendRows(t, log.Memory, i, i+1)
		if n, err := s.Step(t.Context()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if log.leases != 1 {
		t.Errorf("the lease was taken %d times for steps in a row", log.leases)
	}
}
