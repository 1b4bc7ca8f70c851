package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"trellis/mapping"
)

// mapCommands are the subcommands of `trellis map`, in the order in which the author of a pack meets them.
func mapCommands() []command {
	return []command{
		{"packs", "list the packs there are", mapPacks},
		{"run", "turn native records into FHIR", mapRun},
		{"new", "begin a pack from a sample of the source's records", mapNew},
		{"lint", "check a pack and tell everything about it at once", mapLint},
		{"golden", "run the golden cases of a pack", mapGolden},
		{"coverage", "tell what a pack does with every native field", mapCoverage},
		{"explain", "tell why an element is what it is", mapExplain},
		{"back", "turn FHIR resources back into native records", mapBack},
		{"roundtrip", "show that records come back from FHIR as they were", mapRoundtrip},
		{"diff", "tell what a change of records, or of a pack, changes in FHIR", mapDiff},
		{"merge", "bring a partner's changes back into a native record", mapMerge},
		{"schema", "print the JSON Schema of the language for editors", mapSchema},
		{"export", "write a pack as ConceptMaps, StructureMaps or a Questionnaire", mapExport},
	}
}

// runMap is the command `trellis map`.
func runMap(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		mapUsage(stderr)
		return 2
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		mapUsage(stdout)
		return 0
	}
	for _, c := range mapCommands() {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "trellis map: no command %q; `trellis map --help` lists them\n", args[0])
	return 2
}

func mapUsage(w io.Writer) {
	fmt.Fprint(w, "trellis map: native records and FHIR, without a server\n\nUsage: trellis map COMMAND [flags]\n\nCommands:\n")
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range mapCommands() {
		fmt.Fprintf(tw, "  %s\t%s\n", c.name, c.summary)
	}
	if err := tw.Flush(); err != nil {
		return
	}
	fmt.Fprint(w, `
Packs are folders of YAML, JSON Schemas and CSV tables. Some come with the program; --packs DIR puts a folder of your own
beside them, whose packs may include the files of the program's shared folder.

`+"`trellis map COMMAND --help`"+` shows a command's flags.

Examples:
  trellis map packs
  trellis map run --pack recovery-plan plan.json > bundle.json
  trellis map new --name house-stays stays.csv
  trellis map lint house-stays
  trellis map run --packs . --pack house-stays stays.csv > bundle.json
  trellis map export --pack house-stays --packs . --conceptmap --out fhir
`)
}

// packsFolder is the flag --packs: where packs are looked for.
type packsFolder struct{ dir string }

func (p *packsFolder) flag(fs *flag.FlagSet) {
	fs.StringVar(&p.dir, "packs", "", "`DIR` with packs of your own, beside those that come with the program")
}

func (p *packsFolder) open() (fs.FS, error) {
	if p.dir == "" {
		return mapping.Packs(), nil
	}
	info, err := os.Stat(p.dir)
	if err != nil || !info.IsDir() {
		return nil, fmt.Errorf("packs folder: %s is not a folder", p.dir)
	}
	return mapping.Beside(os.DirFS(p.dir)), nil
}

// all loads every pack there is. Faults name the files where they lie.
func (p *packsFolder) all() ([]*mapping.Pack, error) {
	folder, err := p.open()
	if err != nil {
		return nil, err
	}
	packs, err := mapping.LoadAll(folder)
	if err == nil {
		return packs, nil
	}
	names, err := mapping.Names(folder)
	for _, name := range names {
		_, fault := p.load(name)
		err = errors.Join(err, fault)
	}
	return nil, err
}

// at is where a file of a pack lies, for people: the own folder's path where the file is there.
func (p *packsFolder) at(file string) string {
	if p.dir == "" {
		return file
	}
	path := filepath.Join(p.dir, filepath.FromSlash(file))
	if _, err := os.Stat(path); err != nil {
		return file
	}
	return path
}

// load finds a pack by its name.
func (p *packsFolder) load(name string) (*mapping.Pack, error) {
	folder, err := p.open()
	if err != nil {
		return nil, err
	}
	pack, err := mapping.Load(folder, name)
	var faults *mapping.LoadError
	if errors.As(err, &faults) {
		for i := range faults.Faults {
			faults.Faults[i].File = p.at(faults.Faults[i].File)
		}
	}
	return pack, err
}
