package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"trellis/fhir"
	"trellis/mapping"
)

const mapExportHelp = `trellis map export: write a pack as FHIR R4 definitions for other tools

Usage:
  trellis map export --pack NAME --conceptmap|--structuremap|--sdc [--packs DIR] [--base URI] [--out DIR]

  --conceptmap     a ConceptMap for each code table the pack uses: pairs that run both ways are equal, further spellings
                   relatedto, values without a code unmatched
  --structuremap   a StructureMap for each mapping. One way; conditions and computed values are CEL and stand in the
                   documentation of their rules, so no engine can run it as it is
  --sdc            a Questionnaire for each instrument of a screening pack, with templates for SDC extraction. Labels are
                   ours, never an instrument's wording

Several may be given at once. Without --out the resources are printed: one as it is, several as a collection Bundle. With
--out each goes into a file of its own, Type-id.json. Each is checked against R4 first. Nothing reads them back: the
pack is the source.

  --base URI       canonical base of the definitions, https://trellis.example/fhir when left out

Exit status: 0 written, 1 there is nothing of this kind to export, 2 wrong use.

Examples:
  trellis map export --pack peer-encounter --conceptmap --out fhir
  trellis map export --pack recovery-plan --structuremap | jq '.group[].name'
  trellis map export --pack sdoh-screening --sdc --base https://our.example/fhir --out forms
`

// mapExports are the kinds of definitions, by the flag that asks for them.
func mapExports(p *mapping.Pack) map[string]func(string) ([]mapping.Exported, error) {
	return map[string]func(string) ([]mapping.Exported, error){
		"conceptmap": p.ConceptMaps, "structuremap": p.StructureMaps, "sdc": p.Questionnaires,
	}
}

func mapExport(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("map export", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, mapExportHelp) }
	var packs packsFolder
	packs.flag(fs)
	name := fs.String("pack", "", "")
	base := fs.String("base", "https://trellis.example/fhir", "")
	out := fs.String("out", "", "")
	kinds := []string{"conceptmap", "structuremap", "sdc"}
	wanted := map[string]*bool{}
	for _, k := range kinds {
		wanted[k] = fs.Bool(k, false, "")
	}
	if code, done := parseFlags(fs, args, stdout, mapExportHelp); done {
		return code
	}
	some := *wanted["conceptmap"] || *wanted["structuremap"] || *wanted["sdc"]
	if *name == "" || !some || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "trellis map: give --pack and --conceptmap, --structuremap or --sdc; `trellis map export --help` has examples")
		return 2
	}
	pack, err := packs.load(*name)
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	var list []*fhir.Resource
	for _, k := range kinds {
		if !*wanted[k] {
			continue
		}
		got, err := exportKind(pack, k, strings.TrimSuffix(*base, "/"))
		if err != nil {
			fmt.Fprintf(stderr, "trellis map: --%s: %v\n", k, err)
			return 1
		}
		list = append(list, got...)
	}
	if err := writeExports(list, *base, *out, stdout); err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 1
	}
	return 0
}

// exportKind makes the definitions of one kind and checks them against R4.
func exportKind(pack *mapping.Pack, kind, base string) ([]*fhir.Resource, error) {
	made, err := mapExports(pack)[kind](base)
	if err != nil {
		return nil, err
	}
	if len(made) == 0 {
		return nil, fmt.Errorf("pack %s has nothing of this kind", pack.Name)
	}
	parser, err := fhir.NewParser()
	if err != nil {
		return nil, err
	}
	var out []*fhir.Resource
	for _, m := range made {
		r, err := parser.Parse(m.JSON)
		if err != nil {
			return nil, fmt.Errorf("%s is not valid R4: %w", m.ID, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// writeExports prints the resources, or writes each into its file.
func writeExports(list []*fhir.Resource, base, dir string, stdout io.Writer) error {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cannot make %s", dir)
		}
		for _, r := range list {
			path := filepath.Join(dir, r.Type+"-"+r.ID+".json")
			if err := os.WriteFile(path, indented(r.JSON), 0o644); err != nil {
				return fmt.Errorf("cannot write %s", path)
			}
			fmt.Fprintln(stdout, path)
		}
		return nil
	}
	if len(list) == 1 {
		_, err := stdout.Write(indented(list[0].JSON))
		return err
	}
	type entry struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	}
	bundle := struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Entry        []entry `json:"entry"`
	}{"Bundle", "collection", nil}
	for _, r := range list {
		bundle.Entry = append(bundle.Entry, entry{strings.TrimSuffix(base, "/") + "/" + r.Type + "/" + r.ID, json.RawMessage(r.JSON)})
	}
	return writeIndented(stdout, bundle)
}

// indented is JSON for people; what is not JSON stays as it is.
func indented(doc []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, doc, "", "  ") != nil {
		return doc
	}
	b.WriteByte('\n')
	return b.Bytes()
}
