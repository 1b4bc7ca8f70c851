package profile

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"trellis/fhir"
)

// Bounds of a package: what is read of it, unpacked.
const (
	maxPackage      = 512 << 20
	maxPackageFiles = 50_000
)

// ErrPackage is wrapped by the errors of packages that cannot be read.
var ErrPackage = errors.New("not a FHIR package")

// ReadArchive reads the definitions of a package as registries hand it out, a gzipped tar with the folder package
// (https://confluence.hl7.org/display/FHIR/NPM+Package+Specification): StructureDefinitions, ValueSets and CodeSystems.
// Examples, in folders of their own, are left alone.
func ReadArchive(r io.Reader) ([]*fhir.Resource, error) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not gzipped", ErrPackage)
	}
	limited := &io.LimitedReader{R: unpacked, N: maxPackage}
	files := tar.NewReader(limited)
	p := &reading{}
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) && limited.N > 0 {
			break
		}
		if err != nil {
			return nil, p.damaged(limited)
		}
		dir, name := path.Split(strings.TrimPrefix(path.Clean(h.Name), "./"))
		if h.Typeflag != tar.TypeReg || dir != "package/" || !p.wanted(name, h.Size) {
			continue
		}
		doc, err := io.ReadAll(io.LimitReader(files, fhir.MaxResourceBytes))
		if err != nil {
			return nil, p.damaged(limited)
		}
		if err := p.add(name, doc); err != nil {
			return nil, err
		}
	}
	return p.definitions()
}

// ReadFolder reads the definitions of a package that is unpacked, or of any folder of JSON files.
func ReadFolder(files fs.FS) ([]*fhir.Resource, error) {
	dir := "."
	if info, err := fs.Stat(files, "package"); err == nil && info.IsDir() {
		dir = "package"
	}
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("%w: the folder cannot be read", ErrPackage)
	}
	p := &reading{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !p.wanted(e.Name(), info.Size()) {
			continue
		}
		doc, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("%w: %s cannot be read", ErrPackage, e.Name())
		}
		if err := p.add(e.Name(), doc); err != nil {
			return nil, err
		}
	}
	return p.definitions()
}

// reading collects definitions.
type reading struct {
	files int
	bytes int
	out   []*fhir.Resource
}

func (p *reading) damaged(l *io.LimitedReader) error {
	if l.N <= 0 {
		return fmt.Errorf("%w: it is larger than is read", ErrPackage)
	}
	return fmt.Errorf("%w: the archive is damaged", ErrPackage)
}

// wanted tells by a file's name and size whether it can be a definition.
func (p *reading) wanted(name string, size int64) bool {
	return strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") && size <= fhir.MaxResourceBytes
}

// add takes a file if it is a definition. What is no FHIR resource, an index for instance, is passed over.
func (p *reading) add(name string, doc []byte) error {
	p.files++
	if p.bytes += len(doc); p.files > maxPackageFiles || p.bytes > maxPackage {
		return fmt.Errorf("%w: it is larger than is read", ErrPackage)
	}
	r, err := fhir.ReadTrusted(doc)
	if err != nil {
		if strings.HasPrefix(name, "StructureDefinition") || strings.HasPrefix(name, "ValueSet") || strings.HasPrefix(name, "CodeSystem") {
			return fmt.Errorf("%w: %s is no FHIR resource", ErrPackage, name)
		}
		return nil
	}
	switch r.Type {
	case "StructureDefinition", "ValueSet", "CodeSystem":
		p.out = append(p.out, r)
	}
	return nil
}

func (p *reading) definitions() ([]*fhir.Resource, error) {
	if len(p.out) == 0 {
		return nil, fmt.Errorf("%w: it holds no StructureDefinition, ValueSet or CodeSystem", ErrPackage)
	}
	return p.out, nil
}
