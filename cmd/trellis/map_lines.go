package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"trellis/fhir"
	"trellis/mapping"
)

// mapLines maps and writes resources as they are made. CSV files are read in place; nothing of a record is kept.
func mapLines(pack *mapping.Pack, env mapping.Env, names []string, form string, stdout, stderr io.Writer) int {
	parser, err := fhir.NewParser()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map run:", err)
		return 1
	}
	out := bufio.NewWriter(stdout)
	invalid := 0
	report, err := streamed(pack, env, names, func(rec mapping.Record) error {
		for _, r := range rec.Resources {
			if _, err := parser.Parse(r.Labelled()); err != nil {
				invalid++
				return nil // a record is taken whole or not at all
			}
		}
		for _, r := range rec.Resources {
			if _, err := out.Write(append(r.Labelled(), '\n')); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = writeMapReport(report, form, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "trellis map run:", err)
		return 2
	}
	if invalid > 0 {
		fmt.Fprintf(stderr, "%d record(s) gave a resource that is not valid FHIR R4 and were left out\n", invalid)
	}
	if invalid+report.Counts.Rejected > 0 {
		return 1
	}
	return 0
}

func streamed(pack *mapping.Pack, env mapping.Env, names []string, write func(mapping.Record) error) (*mapping.Report, error) {
	if pack.Format != "csv" {
		files, err := readDelivery(names)
		if err != nil {
			return nil, err
		}
		res, err := pack.MapDelivery(env, files)
		if err != nil {
			return nil, err
		}
		for _, rec := range res.Records {
			if err := write(rec); err != nil {
				return nil, err
			}
		}
		return &res.Report, nil
	}
	sources, done, err := openSources(names)
	defer done()
	if err != nil {
		return nil, err
	}
	report, err := pack.MapStream(env, sources, write)
	var invalid *mapping.InvalidError
	if errors.As(err, &invalid) {
		return &pack.Rejected(invalid.Problems).Report, nil
	}
	return report, err
}

// openSources opens files, and the files in folders; done closes them.
func openSources(names []string) (sources []mapping.Source, done func(), err error) {
	var open []*os.File
	done = func() {
		for _, f := range open {
			if err := f.Close(); err != nil {
				continue // it was only read
			}
		}
	}
	for _, path := range inFolders(names) {
		f, err := os.Open(path)
		if err != nil {
			return nil, done, fmt.Errorf("cannot read %s", path)
		}
		open = append(open, f)
		info, err := f.Stat()
		if err != nil {
			return nil, done, fmt.Errorf("cannot read %s", path)
		}
		sources = append(sources, mapping.Source{Name: path, Data: f, Size: info.Size()})
	}
	return sources, done, nil
}

// inFolders puts the files of a folder in its place.
func inFolders(names []string) []string {
	var all []string
	for _, name := range names {
		entries, err := os.ReadDir(name)
		if err != nil {
			all = append(all, name)
			continue
		}
		for _, e := range entries {
			if !e.IsDir() {
				all = append(all, filepath.Join(name, e.Name()))
			}
		}
	}
	return all
}

func writeMapReport(report *mapping.Report, form string, w io.Writer) error {
	if form == "json" {
		return writeIndented(w, report)
	}
	return report.WriteText(w)
}
