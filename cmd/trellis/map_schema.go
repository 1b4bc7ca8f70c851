package main

import (
	"flag"
	"fmt"
	"io"

	"trellis/mapping"
)

const mapSchemaHelp = `trellis map schema: print the JSON Schema of the language for editors

Usage:
  trellis map schema map|pack

map is the schema of *.map.yaml, pack that of pack.yaml; JSON Schema 2020-12. With it an editor completes keys and
underlines mistakes while one types. ` + "`trellis map lint`" + ` checks much more.

Examples:
  trellis map schema map > map.schema.json
  trellis map schema pack > pack.schema.json

Then, as the first line of a mapping, for editors with the YAML language server:
  # yaml-language-server: $schema=../map.schema.json
`

func mapSchema(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("map schema", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, mapSchemaHelp) }
	if code, done := parseFlags(fs, args, stdout, mapSchemaHelp); done {
		return code
	}
	if fs.NArg() != 1 {
		fmt.Fprint(stderr, mapSchemaHelp)
		return 2
	}
	schema, err := mapping.Schema(fs.Arg(0))
	if err != nil {
		fmt.Fprintln(stderr, "trellis map:", err)
		return 2
	}
	if _, err := stdout.Write(schema); err != nil {
		return 1
	}
	return 0
}
