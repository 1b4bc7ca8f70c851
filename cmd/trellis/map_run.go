package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"trellis/fhir"
	"trellis/mapping"
)

// mapNamespace is the namespace of ids made by `trellis map` when none is given. It is public, so ids made in it can
// be guessed from a record's number: a deployment's own namespace is secret.
const mapNamespace = "5f3c2a8e-6d1b-5c47-9e0a-2b7d4f618c35"

// mapRunHelp is what --help prints; the flags go into it.
const mapRunHelp = `trellis map run: turn native records into FHIR

Usage:
  trellis map run --pack PACK [flags] FILE...

The transaction Bundle goes to standard output, the report to standard error. Give one or several JSON files to a JSON
pack (one record, an array, or one record per line), and all CSV files of one delivery to a CSV pack: they are
recognised by their columns. FILE - is standard input.

Flags:
%s
Exit status: 0 everything was mapped (the report may still have lines), 1 a record could not be mapped (the others
are in the Bundle), 2 wrong use.

Examples:
  trellis map run --pack recovery-plan plan.json > bundle.json
  trellis map run --pack ny-1115-ahc-hrsn --org-name "Upstate Network" SCREENING.csv DEMOGRAPHIC.csv QE_ADMIN.csv
  trellis map run --packs . --pack house-stays stays.csv > bundle.json
  trellis map run --pack ny-1115-ahc-hrsn --ndjson delivery/ > resources.ndjson
  cat sessions.ndjson | trellis map run --pack peer-encounter --part2 --report json - > bundle.json
`

// mapSetting are the flags that say with which pack, and for which organisation, records are mapped.
type mapSetting struct {
	pack, orgName, orgSystem, orgID, base, namespace, report string
	part2, propose                                           bool
	packs                                                    packsFolder
}

// newMapSetting makes the flags of a subcommand with its help; %s in the help stands for them.
func newMapSetting(name, help string) (*flag.FlagSet, *mapSetting, func() string) {
	f := &mapSetting{}
	fs := flag.NewFlagSet("map "+name, flag.ContinueOnError)
	fs.StringVar(&f.pack, "pack", "", "`PACK` to map with; `trellis map packs` lists them")
	f.packs.flag(fs)
	fs.StringVar(&f.orgName, "org-name", "Sending organisation", "`NAME` of the organisation that sends the records")
	fs.StringVar(&f.orgSystem, "org-system", "https://example.org/ids", "`URI` of the organisation's id space")
	fs.StringVar(&f.orgID, "org-id", "sender", "logical `ID` of its Organization resource")
	fs.BoolVar(&f.part2, "part2", false, "the records are those of a 42 CFR Part 2 program")
	fs.StringVar(&f.base, "base", "https://trellis.example/fhir", "canonical base `URI` of local code systems")
	fs.StringVar(&f.namespace, "namespace", mapNamespace, "`UUID` under which ids are made; the same records and namespace give the same ids")
	fs.BoolVar(&f.propose, "propose-concerns", false, "let screenings propose unconfirmed health concerns for a person to review")
	fs.StringVar(&f.report, "report", "text", "form of the report: `json or text`")
	return fs, f, func() string {
		var defaults bytes.Buffer
		fs.SetOutput(&defaults)
		fs.PrintDefaults()
		return fmt.Sprintf(help, defaults.String())
	}
}

// parse reads the arguments of a subcommand that takes at least this many; done means that there is nothing left to do.
func (f *mapSetting) parse(fs *flag.FlagSet, usage func() string, args []string, least int, stdout, stderr io.Writer) (code int, done bool) {
	help := usage()
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, help) }
	if code, done := parseFlags(fs, args, stdout, help); done {
		return code, true
	}
	switch {
	case f.pack == "":
		fmt.Fprintf(stderr, "trellis %s: give --pack; `trellis map packs` lists them\n", fs.Name())
	case fs.NArg() < least:
		fmt.Fprintf(stderr, "trellis %s: something is missing; `trellis %s --help` has examples\n", fs.Name(), fs.Name())
	case f.report != "json" && f.report != "text":
		fmt.Fprintf(stderr, "trellis %s: --report must be json or text\n", fs.Name())
	default:
		return 0, false
	}
	return 2, true
}

// load loads the pack and makes the environment.
func (f *mapSetting) load() (*mapping.Pack, mapping.Env, error) {
	ns, err := uuid.Parse(f.namespace)
	if err != nil {
		return nil, mapping.Env{}, errors.New("--namespace must be a UUID")
	}
	pack, err := f.packs.load(f.pack)
	return pack, mapping.Env{
		Namespace: ns, Base: strings.TrimSuffix(f.base, "/"), Now: time.Now(), ProposeConcerns: f.propose,
		Organization: mapping.Organization{ID: f.orgID, Name: f.orgName, System: f.orgSystem, Part2: f.part2},
	}, err
}

func mapRun(args []string, stdout, stderr io.Writer) int {
	fs, f, usage := newMapSetting("run", mapRunHelp)
	lineage := fs.Bool("lineage", false, "write the origin of every element into the record's Provenance")
	lines := fs.Bool("ndjson", false, "write resources one per line as they are made, instead of a Bundle; CSV files of any size take little memory")
	if code, done := f.parse(fs, usage, args, 1, stdout, stderr); done {
		return code
	}
	pack, env, err := f.load()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	env.Lineage = *lineage
	if *lines {
		return mapLines(pack, env, fs.Args(), f.report, stdout, stderr)
	}
	files, err := readDelivery(fs.Args())
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	res, err := mapAll(pack, env, files)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 1
	}
	return writeMapped(res, f.report, stdout, stderr)
}

// readDelivery reads files, and the files in folders.
func readDelivery(names []string) ([]mapping.File, error) { return readMapFiles(inFolders(names)) }

// readMapFiles reads the files named on the command line, - being standard input.
func readMapFiles(names []string) ([]mapping.File, error) {
	var out []mapping.File
	for _, name := range names {
		var data []byte
		var err error
		if name == "-" {
			data, err = io.ReadAll(os.Stdin)
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s", name)
		}
		out = append(out, mapping.File{Name: name, Data: data})
	}
	return out, nil
}

// mapAll maps the files and checks every resource against R4; one that fails is taken out and reported.
func mapAll(pack *mapping.Pack, env mapping.Env, files []mapping.File) (*mapping.Result, error) {
	res, err := pack.MapDelivery(env, files)
	if err != nil {
		return nil, err
	}
	parser, err := fhir.NewParser()
	if err != nil {
		return nil, err
	}
	res.Check(func(r mapping.Resource) bool {
		_, err := parser.Parse(r.Labelled())
		return err == nil
	})
	return res, nil
}

func writeMapped(res *mapping.Result, form string, stdout, stderr io.Writer) int {
	bundle, err := res.Bundle()
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 1
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, bundle, "", "  "); err != nil {
		fmt.Fprintln(stderr, "trellis map: the bundle is not JSON")
		return 1
	}
	indented.WriteByte('\n')
	if _, err := stdout.Write(indented.Bytes()); err != nil {
		fmt.Fprintln(stderr, "trellis map: the bundle could not be written")
		return 1
	}
	if err := writeMapReport(&res.Report, form, stderr); err != nil || res.Report.Counts.Rejected > 0 {
		return 1
	}
	return 0
}
