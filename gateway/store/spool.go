package store

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
)

// Spool is where an engine can make audit leaves durable for less than a Write costs. They wait there, for as long as a
// step of the audit sequencer, to be moved into the log. What was moved may be found there again after a crash: the
// store remembers in the log's database how far it got.
type Spool interface {
	// Left returns the packs a process before this one left, by ascending number. It is called once, before all else.
	Left() ([]Spooled, error)
	// Clear durably forgets what is left.
	Clear() error
	// Add makes a pack of n leaves durable under a number, not 0, that is greater than all before it in this process. After
	// an error, which wraps ErrBusy, the pack may be there or not, and none is added until Seal.
	Add(seq int64, n int, body []byte) error
	// Seal returns the packs there are and lets those added from now on wait apart. While packs it returned before are not
	// released it returns those; again says so.
	Seal() (packs []Spooled, again bool, err error)
	// Release lets the packs of Seal be overwritten.
	Release() error
}

// Spooling is an Engine that may have a Spool; nil when it has none, or another process has it.
type Spooling interface{ Spool() Spool }

// Spooled is a pack of N leaves in a Spool, not compressed.
type Spooled struct {
	Seq  int64
	N    int
	Body []byte
}

// spooler guards a Spool. The zero value has none.
type spooler struct {
	spool  Spool
	moving sync.Mutex  // held while packs are moved
	broken atomic.Bool // what is in it could not be moved: nothing is added until it can
}

func (s *spooler) usable() bool { return s.spool != nil && !s.broken.Load() }

// unspooled is the setting with the number up to which packs of the spool are in the log, written with them. It holds
// for the numbers of one process: Open clears it.
const unspooled = "audit.unspooled"

// maxPack is the most leaves that packs are put together to.
const maxPack = 512

// openSpool takes over what a process before this one left.
func (s *Store) openSpool(ctx context.Context) error {
	e, ok := s.engine.(Spooling)
	if !ok {
		return nil
	}
	if s.spool.spool = e.Spool(); s.spool.spool == nil {
		return nil
	}
	packs, err := s.spool.spool.Left()
	if err != nil {
		return err
	}
	if err := s.movePacks(ctx, packs); err != nil {
		return err
	}
	if err := s.spool.spool.Clear(); err != nil {
		return err
	}
	return s.engine.Write(ctx, func(tx Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM setting WHERE name=?", unspooled)
		return err
	})
}

// unspool moves what is in the spool into the log, in fewer and larger packs.
func (s *Store) unspool(ctx context.Context) error {
	if s.spool.spool == nil {
		return nil
	}
	s.spool.moving.Lock()
	defer s.spool.moving.Unlock()
	for again := true; again; {
		var packs []Spooled
		var err error
		if packs, again, err = s.spool.spool.Seal(); err == nil {
			err = s.movePacks(ctx, packs)
		}
		if err == nil {
			err = s.spool.spool.Release()
		}
		if s.spool.broken.Store(err != nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) movePacks(ctx context.Context, packs []Spooled) error {
	if len(packs) == 0 {
		return nil
	}
	return s.engine.Write(ctx, func(tx Tx) error {
		var moved []byte
		if _, err := one(ctx, tx, "SELECT value FROM setting WHERE name=?", []any{unspooled}, &moved); err != nil {
			return err
		}
		fresh := packs
		for len(fresh) > 0 && fresh[0].Seq <= sequence(moved) {
			fresh = fresh[1:]
		}
		if len(fresh) == 0 {
			return nil // and the number stays: it never goes back
		}
		if err := s.insertSpooled(ctx, tx, fresh); err != nil {
			return err
		}
		return putSetting(ctx, tx, unspooled, binary.BigEndian.AppendUint64(nil, uint64(packs[len(packs)-1].Seq)))
	})
}

// sequence reads the setting unspooled; without one, nothing was moved.
func sequence(value []byte) int64 {
	if len(value) != 8 {
		return -1
	}
	return int64(binary.BigEndian.Uint64(value))
}

func (s *Store) insertSpooled(ctx context.Context, tx Tx, packs []Spooled) error {
	for len(packs) > 0 {
		plain, n := []byte{packVersion}, 0
		for len(packs) > 0 && (n == 0 || n+packs[0].N <= maxPack) {
			if len(packs[0].Body) == 0 || packs[0].Body[0] != packVersion {
				return errPack
			}
			plain, n = append(plain, packs[0].Body[1:]...), n+packs[0].N
			packs = packs[1:]
		}
		if err := s.insertPack(ctx, tx, n, s2.Encode(nil, plain)); err != nil {
			return err
		}
	}
	return nil
}
