package options

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseConfig returns the one document of a configuration file, nil if it is empty.
// JSON is read as YAML, which lacks two of its escapes: "\/" and surrogate pairs.
func parseConfig(text []byte) (*yaml.Node, error) {
	unread := func(c rune) bool {
		return c == unicode.ReplacementChar || unicode.IsControl(c) && !strings.ContainsRune("\t\r\n", c)
	}
	if i := bytes.IndexFunc(text, unread); i >= 0 {
		c, _ := utf8.DecodeRune(text[i:])
		return nil, fmt.Errorf("line %d: contains %q", 1+bytes.Count(text[:i], []byte("\n")), c)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, more yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxError(err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return nil, errors.New("more than one document")
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	if err := checkPlain(&document); err != nil {
		return nil, err
	}
	return document.Content[0], nil
}

// syntaxError is an error of the YAML library, on one line and without its name.
func syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	return errors.New(strings.ReplaceAll(text, "\n", " "))
}
