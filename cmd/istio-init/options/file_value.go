package options

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// fileText returns a value of the configuration file as a flag would have it: the text
// as written, and a list joined by commas.
func fileText(o *option, value *yaml.Node) (string, error) {
	switch {
	case o.group == groupRemoved:
		return "", nil
	case value.Kind == yaml.SequenceNode && o.form.list:
		return listText(o, value)
	}
	return scalarText(o.form, value)
}

func listText(o *option, list *yaml.Node) (string, error) {
	var texts []string
	wrong := errorList{most: mostElements}
	for _, element := range list.Content {
		text, err := scalarText(o.form, element)
		if err == nil && strings.Contains(text, ",") {
			err = valueError(text, "has a comma; each element is one value")
		}
		if err != nil && element.Line != list.Line {
			err = fmt.Errorf("line %d: %w", element.Line, err)
		}
		wrong.add(err)
		if err == nil {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ","), joinLine(wrong.all()...)
}

// scalarText returns a scalar as written: any string, a boolean if the option takes one,
// and a number that all YAML parsers read alike.
func scalarText(f form, n *yaml.Node) (string, error) {
	switch {
	case n.Tag == "!!null":
		return "", errors.New(`no value (an empty one is "")`)
	case n.Kind != yaml.ScalarNode || n.Tag == "!!bool" && !f.boolean:
		return "", fmt.Errorf("%s", kindName(n))
	case n.Tag == "!!int" && strings.HasPrefix(n.Value, "0x"):
	case (n.Tag == "!!int" || n.Tag == "!!float") && !json.Valid([]byte(n.Value)):
		return "", valueError(n.Value, "is read differently by YAML parsers; put it in quotes")
	}
	return n.Value, readable(n.Value)
}

// readable refuses control characters and what is not UTF-8.
func readable(v string) error {
	for _, c := range v {
		if unicode.IsControl(c) || c == unicode.ReplacementChar {
			return valueError(v, "contains %q", c)
		}
	}
	return nil
}

// kindName names the kind of a node for errors.
func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!bool":
		return "a boolean"
	}
	return quote(n.Value)
}

// checkPlain refuses anchors, which let a small file expand to a large one, and tags,
// which change the type of values.
func checkPlain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not supported", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: the tag %s is not supported", n.Line, quote(n.Tag))
	}
	for _, c := range n.Content {
		if err := checkPlain(c); err != nil {
			return err
		}
	}
	return nil
}
