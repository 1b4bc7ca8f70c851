package audit

import (
	"context"
	"errors"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Sentinels of the Store contract.
var (
	// ErrFenced: the lease has passed to another holder since this fence was given out.
	ErrFenced = errors.New("audit: fenced off")
	// ErrConflict: the head is not where the batch begins, or a leaf of it is already numbered or unknown.
	ErrConflict = errors.New("audit: conflicting numbering")
)

// StoredHash is one hash of the tree under its stored hash index (tlog.StoredHashIndex).
type StoredHash struct {
	Index int64
	Hash  tlog.Hash
}

// Batch is one step of numbering.
type Batch struct {
	Fence      int64
	First      int64        // index of IDs[0]; the log's size before the step
	IDs        []string     // leaf ids in index order
	Hashes     []StoredHash // every hash the step adds, ascending and without gap
	Checkpoint []byte       // signed note over First+len(IDs) leaves
}

// Store keeps the log; all replicas share one. storetest.Run is the contract in executable form.
type Store interface {
	// Append makes the leaves durable, unnumbered, all or none. On return without error they survive a crash, so that
	// what they describe may be released. Ids are unique by construction (NewLeaf); a store need not look for one that
	// is already there, verify does. Concurrent calls are grouped into one commit inside.
	Append(ctx context.Context, leaves ...Leaf) error
	// AcquireLease takes the sequencer's lease for holder, or renews it; ttl 0 gives it up. ok is false while another
	// holder's lease has not expired by the database's clock. A fence is greater than every earlier one whenever the
	// lease passes to another holder or is taken again after expiry; renewing keeps it.
	AcquireLease(ctx context.Context, holder string, ttl time.Duration) (fence int64, ok bool, err error)
	// Unnumbered returns up to limit leaves without number, the longest waiting first. ID and Data are filled.
	Unnumbered(ctx context.Context, limit int) ([]Leaf, error)
	// Number assigns indexes, adds hashes and makes the checkpoint the head, atomically and durably. ErrFenced when
	// Fence is not the current one; ErrConflict when First is not the current size or an id is not unnumbered.
	// Checkpoints stay; a store may thin those older than a day to one an hour, never the latest.
	Number(ctx context.Context, b Batch) error
	// Head returns the number of numbered leaves and the latest checkpoint (nil before the first), read together.
	Head(ctx context.Context) (size int64, checkpoint []byte, err error)
	// Hashes returns the stored hashes at the indexes, in their order; an index that is missing is an error.
	Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
}

// ExportStore gives a consistent view of the log to read out.
type ExportStore interface {
	// Snapshot opens the view: everything read through it is as of one moment.
	Snapshot(ctx context.Context) (Snapshot, error)
}

// Snapshot is the log at one moment. Each iterator ends at its first error and reads in constant memory; they are
// used one after the other. What was damaged is returned as it stands: an auditor has to get to see it.
type Snapshot interface {
	// Size is the number of numbered leaves according to the head.
	Size() int64
	// Checkpoints yields all signed notes by ascending size.
	Checkpoints(ctx context.Context) iter.Seq2[[]byte, error]
	// Leaves yields the numbered leaves by ascending index; Event and Salt are nil for erased ones.
	Leaves(ctx context.Context) iter.Seq2[Numbered, error]
	// Hashes yields the stored hashes by ascending index.
	Hashes(ctx context.Context) iter.Seq2[StoredHash, error]
	// Unnumbered yields the leaves without number, the longest waiting first.
	Unnumbered(ctx context.Context) iter.Seq2[Leaf, error]
	// Close releases the view.
	Close() error
}

// Numbered is a leaf with its place in the tree.
type Numbered struct {
	Index int64
	Leaf
}
