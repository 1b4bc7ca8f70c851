// Package store keeps resources, their index, consent grants, OAuth state, the audit log's rows, Subscriptions and
// deliveries in one relational design that two engines run (packages sqlite and postgres).
//
// Every query about resources takes an access.Filter and compiles it into its SQL: what a caller may
// not see is not fetched, counted, sorted or paged over. The store makes no decision of its own; it
// materialises those of auth/access. It is entered through Open.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"trellis/auth/label"
	"trellis/fhir"
	"trellis/fhir/search"
)

// part is the bucket of a deployment that is not sharded (design: 0 until then). It leads every key.
const part = 0

// forever marks an open end of time and a row that is current; beginning an open start.
const (
	forever   = search.OpenHi
	beginning = search.OpenLo
)

// Store is one deployment's database. Make one with Open; it is safe for concurrent use.
type Store struct {
	engine   Engine
	dialect  Dialect
	registry *search.Registry
	base     string // FHIR base URL, to recognise absolute references to ourselves
	clock    func() time.Time
	ids      idMaker
	rids     rowKeys
	keys     keyCache
	views    *cache[viewKey, view]
	followed *cache[followKey, followed]
	located  *cache[fhir.Reference, int64]
	versions *cache[int64, keptVersion]
	written  *cache[writtenKey, writtenFilter]
	programs programCache
	zstdEnc  *zstd.Encoder
	zstdDec  *zstd.Decoder

	mu       sync.RWMutex
	dicts    map[dictKey]int64
	names    map[int64]map[int64]string
	segments map[int64]label.Segment
	segKeys  map[string]int64
	facts    *cache[int64, cachedFacts] // by patient
	terms    termsCache
	counts   statementCounts
	offset   clockOffset
	// parameters is the change of custom search parameters the registry is at.
	parameters atomic.Int64
	serving    atomic.Int64 // requests in progress
	appends    chan *leafJob
	closing    chan struct{}
	closed     sync.WaitGroup
	spool      spooler
}

// Config is what Open needs.
type Config struct {
	Engine   Engine
	Registry *search.Registry
	Base     string           // FHIR base URL
	Clock    func() time.Time // nil takes the database's clock; tests inject one
}

// Open migrates the schema and loads the dictionaries.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false),
		zstd.WithEncoderDictRaw(bodyDictionaryID, bodyDictionary()))
	if err != nil {
		return nil, fmt.Errorf("store: preparing compression: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderDictRaw(bodyDictionaryID, bodyDictionary()))
	if err != nil {
		return nil, fmt.Errorf("store: preparing compression: %w", err)
	}
	s := &Store{
		engine: cfg.Engine, dialect: cfg.Engine.Dialect(), registry: cfg.Registry, base: cfg.Base, clock: cfg.Clock,
		zstdEnc: enc, zstdDec: dec, facts: newCache[int64, cachedFacts](maxCachedFacts), keys: newKeyCache(),
		views: newCache[viewKey, view](maxCachedViews), followed: newCache[followKey, followed](maxFollowed),
		versions: newVersions(), written: newCache[writtenKey, writtenFilter](maxWritten), located: newCache[fhir.Reference, int64](maxCachedKeys),
		appends: make(chan *leafJob, maxLeafGroup), closing: make(chan struct{}),
	}
	if err := s.ids.seed(); err != nil {
		return nil, err
	}
	if err := migrate(ctx, cfg.Engine); err != nil {
		return nil, err
	}
	if err := s.loadDictionaries(ctx); err != nil {
		return nil, err
	}
	if err := s.settleBase(ctx); err != nil {
		return nil, err
	}
	if err := s.loadParameters(ctx); err != nil {
		return nil, err
	}
	if err := s.loadRules(ctx); err != nil {
		return nil, err
	}
	if err := s.openSpool(ctx); err != nil {
		return nil, err
	}
	s.closed.Add(1)
	go s.appendLeaves()
	return s, nil
}

// settleBase remembers the base URL a server runs under; a tool opened without one takes that.
func (s *Store) settleBase(ctx context.Context) error {
	if s.base != "" {
		return s.PutSetting(ctx, "base", []byte(s.base))
	}
	base, _, err := s.Setting(ctx, "base")
	s.base = string(base)
	return err
}

// Base is the FHIR base URL references are taken relative to.
func (s *Store) Base() string { return s.base }

// Close stops the appender, moves what it kept into the log, and closes the engine.
func (s *Store) Close() error {
	close(s.closing)
	s.closed.Wait()
	s.zstdDec.Close()
	return errors.Join(s.unspool(context.Background()), s.zstdEnc.Close(), s.engine.Close())
}

// offsetLife is how long a measured difference between the database's clock and ours is used.
const offsetLife = 10 * time.Second

// Now is the store's time: the database's clock, or the injected one. The database is asked for it
// every offsetLife; in between our own clock runs on from there. Replicas thus agree on the time to
// within a round trip, whatever their own clocks say.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if s.clock != nil {
		return s.clock().UTC(), nil
	}
	s.offset.Lock()
	defer s.offset.Unlock()
	if time.Since(s.offset.at) < offsetLife {
		return time.Now().Add(s.offset.by).UTC().Truncate(time.Microsecond), nil
	}
	var micros int64
	err := s.engine.Read(ctx, func(tx Tx) error {
		_, err := one(ctx, tx, "SELECT "+s.dialect.NowMicros, nil, &micros)
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	now := time.UnixMicro(micros).UTC()
	s.offset.at, s.offset.by = time.Now(), time.Until(now)
	return now, nil
}

// now is the time of a write in microseconds.
func (s *Store) now(ctx context.Context) (int64, error) {
	t, err := s.Now(ctx)
	return t.UnixMicro(), err
}

// clockOffset is how far the database's clock is from ours, and when that was measured.
type clockOffset struct {
	sync.Mutex
	at time.Time
	by time.Duration
}

// Secret returns the deployment's 32-byte secret of that name, made on first use and shared by all
// replicas through the database.
func (s *Store) Secret(ctx context.Context, name string) ([]byte, error) {
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("store: making a secret: %w", err)
	}
	var value []byte
	err := s.engine.Write(ctx, func(tx Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO setting (name,value) VALUES (?,?) ON CONFLICT (name) DO NOTHING", "secret."+name, fresh); err != nil {
			return err
		}
		found, err := one(ctx, tx, "SELECT value FROM setting WHERE name=?", []any{"secret." + name}, &value)
		if err == nil && !found {
			return errors.New("store: a secret vanished")
		}
		return err
	})
	return value, err
}

// Setting reads a named value; found is false when it was never written.
func (s *Store) Setting(ctx context.Context, name string) (value []byte, found bool, err error) {
	err = s.engine.Read(ctx, func(tx Tx) error {
		found, err = one(ctx, tx, "SELECT value FROM setting WHERE name=?", []any{name}, &value)
		return err
	})
	return value, found, err
}

// FirstSettings keeps values that belong together, under their names, unless the first of the names has one already:
// of replicas that start at once, one settles what all of them then get.
func (s *Store) FirstSettings(ctx context.Context, names []string, fresh [][]byte) (kept [][]byte, err error) {
	err = s.engine.Write(ctx, func(tx Tx) error {
		kept = make([][]byte, len(names))
		n, err := tx.Exec(ctx, "INSERT INTO setting (name,value) VALUES (?,?) ON CONFLICT (name) DO NOTHING", names[0], fresh[0])
		if err != nil {
			return err
		}
		for i := 1; n == 1 && i < len(names); i++ {
			if err := putSetting(ctx, tx, names[i], fresh[i]); err != nil {
				return err
			}
		}
		for i, name := range names {
			if _, err := one(ctx, tx, "SELECT value FROM setting WHERE name=?", []any{name}, &kept[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return kept, err
}

func putSetting(ctx context.Context, tx Tx, name string, value []byte) error {
	_, err := tx.Exec(ctx, "INSERT INTO setting (name,value) VALUES (?,?) ON CONFLICT (name) DO UPDATE SET value=excluded.value", name, value)
	return err
}

// PutSetting writes a named value.
func (s *Store) PutSetting(ctx context.Context, name string, value []byte) error {
	return s.engine.Write(ctx, func(tx Tx) error {
		return putSetting(ctx, tx, name, value)
	})
}
