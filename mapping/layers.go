package mapping

import (
	"errors"
	"io/fs"
	"sort"
	"strings"
)

// Beside lays a packs folder of one's own over the packs that come with the program. Its packs may include files of
// the embedded shared/ and stand in for an embedded pack of the same name as a whole; in shared/ files are looked for
// one by one, the own ones first.
func Beside(own fs.FS) fs.FS { return layers{own, Packs()} }

type layers struct{ own, base fs.FS }

// hidden tells whether a file of the base lies in a pack that the own folder has too.
func (l layers) hidden(name string) bool {
	pack, _, _ := strings.Cut(name, "/")
	if pack == sharedDir || pack == "." {
		return false
	}
	_, err := fs.Stat(l.own, pack)
	return err == nil
}

// Open implements fs.FS.
func (l layers) Open(name string) (fs.File, error) {
	f, err := l.own.Open(name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || l.hidden(name) {
		return f, err
	}
	return l.base.Open(name)
}

// ReadDir implements fs.ReadDirFS: what both layers have stands once.
func (l layers) ReadDir(name string) ([]fs.DirEntry, error) {
	out, err := fs.ReadDir(l.own, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || l.hidden(name) {
		return out, err
	}
	below, baseErr := fs.ReadDir(l.base, name)
	if err != nil && baseErr != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, e := range out {
		have[e.Name()] = true
	}
	for _, e := range below {
		if !have[e.Name()] {
			out = append(out, e)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name() < out[j].Name() })
	return out, nil
}
