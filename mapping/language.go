package mapping

import (
	"embed"
	"fmt"
)

//go:embed language/map.schema.json language/pack.schema.json
var languageFiles embed.FS

// Schema is the JSON Schema (2020-12) of the language's files, "map" or "pack", for editors that complete and check
// while one types. Load checks more: what the schema refuses Load refuses too, and says why.
func Schema(of string) ([]byte, error) {
	if of != "map" && of != "pack" {
		return nil, fmt.Errorf("mapping: no schema %q; there are map and pack", of)
	}
	return languageFiles.ReadFile("language/" + of + ".schema.json")
}
