package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	slashpath "path"
	"sort"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// A nativeSchema checks native records. Its messages are never passed on: they quote values.
type nativeSchema struct {
	schema *jsonschema.Schema
	quick  *quickCheck // nil when the schema uses keywords that it does not know
}

func newNativeSchema(sc *jsonschema.Schema) nativeSchema {
	return nativeSchema{schema: sc, quick: newQuickCheck(sc, 0)}
}

// schemaRoot is the made-up address below which a pack's schema files live while they are compiled.
const schemaRoot = "pack:///"

// readSchema compiles a JSON Schema (2020-12) of the pack; $ref reaches the files of the packs folder only.
func readSchema(fsys fs.FS, file string, f *faults) *jsonschema.Schema {
	compiler := jsonschema.NewCompiler()
	compiler.Draft = jsonschema.Draft2020
	compiler.AssertFormat = true
	compiler.ExtractAnnotations = true
	compiler.LoadURL = func(url string) (io.ReadCloser, error) {
		rel, ok := strings.CutPrefix(url, schemaRoot)
		if !ok {
			return nil, errors.New("schemas may refer to files of the packs folder only")
		}
		data, err := fs.ReadFile(fsys, slashpath.Clean(rel))
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	schema, err := compiler.Compile(schemaRoot + file)
	if err != nil {
		f.add(file, syntaxLine(fsys, file), "is not a usable JSON Schema: %s", strings.SplitN(err.Error(), "\n", 2)[0])
		return nil
	}
	return schema
}

// syntaxLine is the line at which a file stops being JSON, 0 when it is JSON.
func syntaxLine(fsys fs.FS, file string) int {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return 0
	}
	var broken *json.SyntaxError
	if err := json.Unmarshal(data, new(any)); errors.As(err, &broken) {
		return 1 + bytes.Count(data[:broken.Offset], []byte("\n"))
	}
	return 0
}

// memberNames lists the names within an object at the top of a JSON file, in the order in which they stand there.
func memberNames(fsys fs.FS, file, object string) []string {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(data, &top) != nil {
		return nil // it was reported when the file was compiled
	}
	dec := json.NewDecoder(bytes.NewReader(top[object]))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return out
		}
		var member json.RawMessage
		if dec.Decode(&member) != nil {
			return out
		}
		out = append(out, name.(string))
	}
	return out
}

// check returns what is wrong with a decoded record: pointers and keywords, never values.
func (s nativeSchema) check(v any) []Problem {
	if s.quick != nil && s.quick.accepts(v) {
		return nil
	}
	err := s.schema.Validate(v)
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return []Problem{{Code: "schema", Text: "the record cannot be checked against its schema", Dropped: true}}
	}
	var out []Problem
	schemaProblems(ve, &out)
	// The library walks maps, so its order is none.
	sort.Slice(out, func(i, j int) bool {
		if out[i].Pointer != out[j].Pointer {
			return out[i].Pointer < out[j].Pointer
		}
		return out[i].Keyword < out[j].Keyword
	})
	return out
}

// maxProblems bounds the list for one record; a record with this many is not read further by anyone.
const maxProblems = 100

func schemaProblems(ve *jsonschema.ValidationError, out *[]Problem) {
	if len(*out) >= maxProblems {
		return
	}
	if len(ve.Causes) == 0 {
		keyword := slashpath.Base(ve.KeywordLocation)
		text := keywordText(keyword)
		if keyword == "required" { // the names come from the schema, not from the record
			text += strings.Replace(ve.Message, "missing properties", "", 1)
		}
		*out = append(*out, Problem{
			Code: "schema", Pointer: ve.InstanceLocation, Keyword: keyword, Text: text, Dropped: true,
		})
		return
	}
	for _, c := range ve.Causes {
		schemaProblems(c, out)
	}
}

// keywordText puts a JSON Schema keyword into plain words.
func keywordText(keyword string) string {
	switch keyword {
	case "required":
		return "a required field is missing"
	case "additionalProperties", "unevaluatedProperties":
		return "there is a field that the schema does not know"
	case "type":
		return "has the wrong type"
	case "enum", "const":
		return "is not one of the allowed values"
	case "format":
		return "is not written as the schema asks (date, time or address)"
	case "pattern":
		return "does not have the form the schema asks"
	case "minLength", "minItems":
		return "is too short"
	case "maxLength", "maxItems":
		return "is too long"
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf":
		return "is a number outside the allowed range"
	case "uniqueItems":
		return "lists the same thing twice"
	case "dependentRequired":
		return "a field is missing that another field needs"
	}
	return "does not follow the schema"
}
