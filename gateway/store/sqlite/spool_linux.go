package sqlite

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"trellis/gateway/store"
)

// spool keeps audit leaves in two plain files beside the database until they are moved there. A commit to the database
// makes every reader drop the pages it holds and costs several writes; here it is one write and one sync of a file
// that has its size already. One file takes packs while what is in the other is moved.
//
// A file holds records from its start: header, then body. All records of one filling bear the number of its first, so
// that what is left of an older filling behind them is not taken for theirs; the checksum tells a record that was cut
// off. What was moved stays until it is overwritten, and the store knows that it was (store.Spool).
type spool struct {
	mu     sync.Mutex
	files  [2]*os.File // the first has the lock
	active int
	first  int64 // number of the active file's first pack; 0 while it is empty
	at     int64 // where the active file's next record goes
	sealed bool  // the other file holds what is not moved yet
	failed error // of a write to the active file: nothing is added behind it
}

var _ store.Spool = (*spool)(nil)

// A record's header: checksum of what follows, number of the filling's first pack, own number, leaves, length of body.
const recordHeader = 4 + 8 + 8 + 4 + 4

// maxSpoolFile is the size above which a file is cut when it is emptied.
const maxSpoolFile = 64 << 20

// openSpool opens or creates the spool of a database. Without an error it is nil when another process has it.
func openSpool(file string) (*spool, error) {
	s := &spool{}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("sqlite: opening the spool of audit leaves: %w", err)
	}
	defer func() { _ = folder.Close() }() // it was read only
	for i := range s.files {
		f, err := os.OpenFile(fmt.Sprintf("%s-leaves%d", file, i), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("sqlite: opening the spool of audit leaves: %w", err), s.close())
		}
		s.files[i] = f
	}
	err = syscall.Flock(int(s.files[0].Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, s.close()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: locking the spool of audit leaves: %w", err), s.close())
	}
	if err := folder.Sync(); err != nil { // or a crash could take the files themselves away
		return nil, errors.Join(fmt.Errorf("sqlite: opening the spool of audit leaves: %w", err), s.close())
	}
	return s, nil
}

func (s *spool) close() error {
	var err error
	for _, f := range s.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// Left implements store.Spool.
func (s *spool) Left() ([]store.Spooled, error) {
	var packs []store.Spooled
	for _, f := range s.files {
		read, err := records(f)
		if err != nil {
			return nil, err
		}
		packs = append(packs, read...)
	}
	slices.SortFunc(packs, func(a, b store.Spooled) int { return cmp.Compare(a.Seq, b.Seq) })
	return packs, nil
}

// Clear implements store.Spool.
func (s *spool) Clear() error {
	for _, f := range s.files {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// Add implements store.Spool.
func (s *spool) Add(seq int64, n int, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	first := s.first
	if first == 0 {
		first = seq
	}
	record := binary.BigEndian.AppendUint64(make([]byte, 4, recordHeader+len(body)), uint64(first))
	record = binary.BigEndian.AppendUint64(record, uint64(seq))
	record = binary.BigEndian.AppendUint32(record, uint32(n))
	record = binary.BigEndian.AppendUint32(record, uint32(len(body)))
	record = append(record, body...)
	binary.BigEndian.PutUint32(record, checksum(record))
	f := s.files[s.active]
	if _, err := f.WriteAt(record, s.at); err != nil {
		s.failed = errors.Join(store.ErrBusy, err)
		return s.failed
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		s.failed = errors.Join(store.ErrBusy, err)
		return s.failed
	}
	s.first, s.at = first, s.at+int64(len(record))
	return nil
}

// Seal implements store.Spool.
func (s *spool) Seal() (packs []store.Spooled, again bool, err error) {
	s.mu.Lock()
	again = s.sealed
	if !again && (s.first != 0 || s.failed != nil) {
		s.active, s.first, s.at, s.sealed, s.failed = 1-s.active, 0, 0, true, nil
	}
	sealed, f := s.sealed, s.files[1-s.active]
	s.mu.Unlock()
	if sealed {
		packs, err = records(f)
	}
	return packs, again, err
}

// Release implements store.Spool.
func (s *spool) Release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sealed {
		return nil
	}
	f := s.files[1-s.active]
	if info, err := f.Stat(); err != nil || info.Size() > maxSpoolFile {
		if err := errors.Join(err, f.Truncate(0)); err != nil {
			return err
		}
	}
	s.sealed = false
	return nil
}

func checksum(record []byte) uint32 {
	return crc32.Checksum(record[4:], crc32.MakeTable(crc32.Castagnoli))
}

// records reads a file's filling: whole records that belong together.
func records(f *os.File) ([]store.Spooled, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("sqlite: reading the spool of audit leaves: %w", err)
	}
	var packs []store.Spooled
	first := uint64(0)
	for len(data) >= recordHeader {
		length := int64(binary.BigEndian.Uint32(data[24:]))
		if length > int64(len(data)-recordHeader) {
			break
		}
		record := data[:recordHeader+length]
		filling := binary.BigEndian.Uint64(record[4:])
		if checksum(record) != binary.BigEndian.Uint32(record) || (len(packs) > 0 && filling != first) {
			break
		}
		first = filling
		packs = append(packs, store.Spooled{Seq: int64(binary.BigEndian.Uint64(record[12:])), N: int(binary.BigEndian.Uint32(record[20:])), Body: record[recordHeader:]})
		data = data[recordHeader+length:]
	}
	return packs, nil
}
