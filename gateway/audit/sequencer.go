package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"trellis/gateway/audit/logfile"
)

// ErrDamaged: the stored hashes do not give the root of the latest checkpoint, or its signature is not ours. The
// sequencer refuses to build on it: signing would make the damage look intended.
var ErrDamaged = errors.New("audit: stored tree does not match its signed checkpoint")

// Defaults of a Sequencer.
const (
	defaultInterval = 250 * time.Millisecond
	defaultBatch    = 4096
	leaseFor        = 5 * time.Second
)

// Sequencer numbers leaves and signs checkpoints. Any number may run over one store: the lease lets one of them work
// and the fence keeps one that lost it from writing. Store, Signer, Verifier and Holder are required.
type Sequencer struct {
	Store    Store
	Signer   note.Signer     // Ed25519; its name is the log's origin
	Verifier note.Verifier   // of the same key
	Retired  []note.Verifier // of keys that were rotated out: the latest checkpoint may still be signed by one
	Holder   string          // unique to this process, e.g. a UUID made at start
	Interval time.Duration   // between steps when idle; 0: 250 ms
	Batch    int             // most leaves of one step; 0: 4096
	Now      func() time.Time
	Log      *slog.Logger
	// Tick replaces the timer of Run; each value causes a step. For tests.
	Tick <-chan time.Time
	// OnStep hears of every step of Run, for metrics. Optional.
	OnStep func(numbered int, err error)

	// The lease as far as this process knows, owned by the goroutine that steps. Knowing wrongly does no harm: the
	// store checks the fence. It saves a durable write at each step.
	fence   int64
	renewAt time.Time
}

// NewKey makes the key pair of a log: skey for the Sequencer's signer, vkey for everybody (C2SP signed-note encoding).
// origin names the log, for instance a host name; it has no spaces and no plus sign.
func NewKey(origin string) (skey, vkey string, err error) {
	skey, vkey, err = note.GenerateKey(rand.Reader, origin)
	if err == nil {
		_, err = note.NewVerifier(vkey)
	}
	if err != nil {
		return "", "", fmt.Errorf("audit: making a log key: %w", err)
	}
	return skey, vkey, nil
}

// Run steps until ctx ends, then gives the lease up so that another replica can go on at once. An error of a step is
// reported and tried again; leaves wait meanwhile, durably.
func (s *Sequencer) Run(ctx context.Context) {
	tick := s.Tick
	if tick == nil {
		interval := s.Interval
		if interval == 0 {
			interval = defaultInterval
		}
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		n, err := s.Step(ctx)
		if ctx.Err() == nil {
			s.report(ctx, n, err)
		}
		if err == nil && n == s.batch() && ctx.Err() == nil {
			continue // more may be waiting
		}
		select {
		case <-tick:
		case <-ctx.Done():
			s.release(ctx)
			return
		}
	}
}

func (s *Sequencer) report(ctx context.Context, n int, err error) {
	if err != nil && s.Log != nil {
		s.Log.ErrorContext(ctx, "audit sequencer step failed", slog.String("error_type", fmt.Sprintf("%T", err)))
	}
	if s.OnStep != nil {
		s.OnStep(n, err)
	}
}

func (s *Sequencer) release(ctx context.Context) {
	if s.fence == 0 {
		return // never led
	}
	s.renewAt = time.Time{}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, _, err := s.Store.AcquireLease(ctx, s.Holder, 0); err != nil {
		s.report(ctx, 0, err) // it expires by itself
	}
}

func (s *Sequencer) batch() int {
	if s.Batch > 0 {
		return s.Batch
	}
	return defaultBatch
}

func (s *Sequencer) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Step numbers what is waiting, at most one batch, and returns how much. Without the lease, and without anything
// waiting, it does nothing and writes nothing. Errors: ErrFenced or ErrConflict when another replica was quicker,
// ErrDamaged, or the store's own.
func (s *Sequencer) Step(ctx context.Context) (int, error) {
	n, err := s.step(ctx)
	if err != nil {
		s.renewAt = time.Time{} // whatever it was, ask for the lease again
	}
	return n, err
}

func (s *Sequencer) step(ctx context.Context) (int, error) {
	if ok, err := s.lead(ctx); err != nil || !ok {
		return 0, err
	}
	waiting, err := s.Store.Unnumbered(ctx, s.batch())
	if err != nil || len(waiting) == 0 {
		return 0, err
	}
	size, checkpoint, err := s.Store.Head(ctx)
	if err != nil {
		return 0, err
	}
	tree := &overlay{ctx: ctx, store: s.Store, known: map[int64]tlog.Hash{}}
	if err := s.checkHead(size, checkpoint, tree); err != nil {
		return 0, err
	}
	batch, err := s.plan(s.fence, size, waiting, tree)
	if err != nil {
		return 0, err
	}
	if err := s.Store.Number(ctx, batch); err != nil {
		return 0, err
	}
	return len(batch.IDs), nil
}

// lead reports whether this process holds the lease, and takes or renews it when there is something to do.
func (s *Sequencer) lead(ctx context.Context) (bool, error) {
	now := time.Now() // the process's own clock: Now may be injected, the lease runs in real time
	if now.Before(s.renewAt) {
		return true, nil
	}
	waiting, err := s.Store.Unnumbered(ctx, 1)
	if err != nil || len(waiting) == 0 {
		return false, err
	}
	fence, ok, err := s.Store.AcquireLease(ctx, s.Holder, leaseFor)
	if err != nil || !ok {
		return false, err
	}
	s.fence, s.renewAt = fence, now.Add(leaseFor/2)
	return true, nil
}

// checkHead makes sure that what is there is what was signed. It also reads the hashes of the tree's right edge, all
// that extending it needs.
func (s *Sequencer) checkHead(size int64, checkpoint []byte, tree *overlay) error {
	if size == 0 && checkpoint == nil {
		return nil
	}
	signed, err := logfile.OpenCheckpoint(checkpoint, append([]note.Verifier{s.Verifier}, s.Retired...)...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	root, err := tlog.TreeHash(size, tree)
	if err != nil {
		return fmt.Errorf("audit: reading the tree: %w", err)
	}
	if signed.Size != size || signed.Root != root {
		return ErrDamaged
	}
	return nil
}

// plan computes the batch in memory.
func (s *Sequencer) plan(fence, size int64, waiting []Leaf, tree *overlay) (Batch, error) {
	b := Batch{Fence: fence, First: size}
	for i, leaf := range waiting {
		n := size + int64(i)
		added, err := tlog.StoredHashesForRecordHash(n, leaf.Hash(), tree)
		if err != nil {
			return Batch{}, fmt.Errorf("audit: extending the tree: %w", err)
		}
		at := tlog.StoredHashIndex(0, n)
		for j, h := range added {
			tree.known[at+int64(j)] = h
			b.Hashes = append(b.Hashes, StoredHash{Index: at + int64(j), Hash: h})
		}
		b.IDs = append(b.IDs, leaf.ID)
	}
	end := size + int64(len(waiting))
	root, err := tlog.TreeHash(end, tree)
	if err != nil {
		return Batch{}, fmt.Errorf("audit: hashing the tree: %w", err)
	}
	b.Checkpoint, err = logfile.Checkpoint{Origin: s.Signer.Name(), Size: end, Root: root, At: s.now()}.Sign(s.Signer)
	return b, err
}

// overlay is the stored tree with the hashes of the step in progress on top.
type overlay struct {
	ctx   context.Context // of the step; tlog.HashReader has no place for it
	store Store
	known map[int64]tlog.Hash
}

// ReadHashes implements tlog.HashReader.
func (o *overlay) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var missing []int64
	for _, i := range indexes {
		if _, ok := o.known[i]; !ok {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 {
		read, err := o.store.Hashes(o.ctx, missing)
		if err != nil {
			return nil, err
		}
		if len(read) != len(missing) {
			return nil, ErrDamaged
		}
		for j, i := range missing {
			o.known[i] = read[j]
		}
	}
	hashes := make([]tlog.Hash, len(indexes))
	for j, i := range indexes {
		hashes[j] = o.known[i]
	}
	return hashes, nil
}
