// Package schemas validates documents of the program by the schemas in docs/schemas. A key
// that a schema does not have is an error here.
package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// files are the schemas by the kinds of documents.
var files = map[string]string{
	"state": "check", "drift": "check", "namespaces": "check", "path": "trace", "rules": "explain",
	"apply": "apply", "clean": "clean", "version": "version", "error": "error",
}

// Validate validates a document by the schema of its kind. top is the directory of the
// repository.
func Validate(top string, document []byte) (kind string, err error) {
	var header struct {
		Schema int
		Kind   string
	}
	if err := json.Unmarshal(document, &header); err != nil {
		return "", err
	}
	if header.Schema != 1 || files[header.Kind] == "" {
		return header.Kind, fmt.Errorf("schema %d, kind %q", header.Schema, header.Kind)
	}
	s, err := compile(filepath.Join(top, "docs/schemas", files[header.Kind]+".schema.json"))
	if err != nil {
		return header.Kind, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return header.Kind, err
	}
	return header.Kind, s.Validate(value)
}

// compile compiles a schema that refuses keys that it does not have.
func compile(path string) (*jsonschema.Schema, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	refuseOthers(document)
	c := jsonschema.NewCompiler()
	if err := c.AddResource(path, document); err != nil {
		return nil, err
	}
	return c.Compile(path)
}

// refuseOthers makes each object with known keys refuse others.
func refuseOthers(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		for _, value := range s {
			refuseOthers(value)
		}
		if _, object := s["properties"].(map[string]any); object {
			s["additionalProperties"] = false
		}
	case []any:
		for _, value := range s {
			refuseOthers(value)
		}
	}
}
