package store

import (
	"context"
	"errors"
	"strconv"
)

// indexVersion names how index rows are made of resources. Whoever changes what fhir/search extracts, or how it is written
// to the tables, raises it: a database indexed otherwise is not served until its index is made anew.
const indexVersion = "3"

// The settings a rebuild keeps: the version of the index, and the row key up to which it has come.
const (
	settingIndexVersion = "index.version"
	settingIndexRebuild = "index.rebuild"
	indexRebuilding     = "rebuilding"
)

// ErrIndex is an index that is not what this version makes, or not whole.
var ErrIndex = errors.New("the search index was made by another version, or its rebuilding was interrupted; run `trellis migrate reindex`")

// ErrServing is returned when the index cannot be rebuilt because a server is using it.
var ErrServing = errors.New("a server is running on this database, or was until a moment ago; stop it first")

// CheckIndexVersion is ErrIndex unless the index is whole and as this version makes it. A database that does not say is older
// than versions are.
func (s *Store) CheckIndexVersion(ctx context.Context) error {
	have, _, err := s.Setting(ctx, settingIndexVersion)
	if err == nil && string(have) != indexVersion {
		err = ErrIndex
	}
	return err
}

// RebuildIndex makes the whole index anew while no server runs. Interrupted, even by kill -9, it goes on where it ended
// when it is called again. report hears how many of the resources are done.
func (s *Store) RebuildIndex(ctx context.Context, report func(done, total int64)) error {
	if err := s.notServing(ctx); err != nil {
		return err
	}
	next, err := s.beginRebuild(ctx)
	if err != nil {
		return err
	}
	for last := false; !last; {
		var done, total int64
		if err := s.reserveRowKeys(ctx, indexBatch); err != nil {
			return err
		}
		to := next
		err := s.write(ctx, func(w *writer) error {
			var n int
			var err error
			if to, n, err = w.indexFrom(next, nil, nil); err != nil {
				return err
			}
			if last = n < indexBatch; last {
				if err := w.setting(settingIndexVersion, indexVersion); err != nil {
					return err
				}
			}
			if err := w.setting(settingIndexRebuild, strconv.FormatInt(to, 10)); err != nil {
				return err
			}
			_, err = one(w.ctx, w.tx, "SELECT COUNT(*),COALESCE(SUM(CASE WHEN rid<=? THEN 1 ELSE 0 END),0) FROM res WHERE part=0 AND ver>0", []any{to}, &total, &done)
			return err
		})
		if err != nil {
			return err
		}
		next = to
		report(done, total)
	}
	return nil
}

// notServing refuses while a server holds the log's lease.
func (s *Store) notServing(ctx context.Context) error {
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	var until int64
	err = s.engine.Read(ctx, func(tx Tx) error {
		_, err := one(ctx, tx, "SELECT expires FROM audit_lease WHERE name='sequencer'", nil, &until)
		return err
	})
	if err == nil && until > now {
		err = ErrServing
	}
	return err
}

// beginRebuild empties the index, unless an earlier rebuild has done so, and returns where to go on.
func (s *Store) beginRebuild(ctx context.Context) (int64, error) {
	version, _, err := s.Setting(ctx, settingIndexVersion)
	if err != nil {
		return 0, err
	}
	if string(version) == indexRebuilding {
		at, _, err := s.Setting(ctx, settingIndexRebuild)
		if err != nil {
			return 0, err
		}
		return strconv.ParseInt(string(at), 10, 64)
	}
	return 0, s.write(ctx, func(w *writer) error {
		for _, table := range indexTables {
			if _, err := w.tx.Exec(w.ctx, "DELETE FROM "+table.name); err != nil {
				return err
			}
		}
		return errors.Join(w.setting(settingIndexVersion, indexRebuilding), w.setting(settingIndexRebuild, "0"))
	})
}

func (w *writer) setting(name, value string) error {
	return putSetting(w.ctx, w.tx, name, []byte(value))
}
