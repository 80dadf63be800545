package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// parseConfig reads the one document that a configuration file is; nil is an
// empty one. JSON is read as such: the YAML library does not know all of it, as
// "\/" and tabs on lines of their own.
func parseConfig(text []byte) (*yaml.Node, error) {
	unread := func(c rune) bool {
		return c == unicode.ReplacementChar || unicode.IsControl(c) && !strings.ContainsRune("\t\r\n", c)
	}
	if i := bytes.IndexFunc(text, unread); i >= 0 {
		c, _ := utf8.DecodeRune(text[i:])
		return nil, fmt.Errorf("line %d: contains %q", 1+bytes.Count(text[:i], []byte("\n")), c)
	}
	if json.Valid(text) {
		return parseJSON(text)
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
		return nil, errors.New("it has more than one document")
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

// A jsonReader turns JSON into the nodes that YAML would be, with their lines.
type jsonReader struct {
	text    []byte
	decoder *json.Decoder
	seen    int64 // up to where lines are counted
	line    int
}

func parseJSON(text []byte) (*yaml.Node, error) {
	r := &jsonReader{text: text, decoder: json.NewDecoder(bytes.NewReader(text)), line: 1}
	r.decoder.UseNumber()
	return r.value()
}

// value reads the next value; of valid JSON there is no error.
func (r *jsonReader) value() (*yaml.Node, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", r.line, err)
	}
	end := r.decoder.InputOffset()
	r.line += bytes.Count(r.text[r.seen:end], []byte("\n"))
	r.seen = end
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: r.line}
	switch v := token.(type) {
	case json.Delim:
		n.Kind = yaml.MappingNode
		if v == '[' {
			n.Kind = yaml.SequenceNode
		}
		return n, r.contents(n)
	case string:
		n.Tag, n.Value = "!!str", v
	case json.Number:
		n.Tag, n.Value = "!!float", v.String()
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(v)
	default:
		n.Tag = "!!null"
	}
	return n, nil
}

// contents reads what is in a list or mapping, and its end.
func (r *jsonReader) contents(n *yaml.Node) error {
	for r.decoder.More() {
		c, err := r.value()
		if err != nil {
			return err
		}
		n.Content = append(n.Content, c)
	}
	_, err := r.decoder.Token()
	return err
}
