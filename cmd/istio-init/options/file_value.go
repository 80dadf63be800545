package options

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// fileText returns what a flag would say to mean a value of the configuration
// file: the text as it is written, and the elements of a list with commas between
// them.
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
	wrong := few{most: mostElements}
	for _, element := range list.Content {
		text, err := scalarText(o.form, element)
		if err == nil && strings.Contains(text, ",") {
			err = bad(text, "has a comma: an element is one value")
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

// scalarText takes a string as it is, a boolean where one is meant, and a number
// that everybody reads alike.
func scalarText(f form, n *yaml.Node) (string, error) {
	switch {
	case n.Tag == "!!null":
		return "", errors.New(`there is no value; an empty one is ""`)
	case n.Kind != yaml.ScalarNode || n.Tag == "!!bool" && !f.boolean:
		return "", fmt.Errorf("%s is not a value here", kindName(n))
	case n.Tag == "!!int" && strings.HasPrefix(n.Value, "0x"):
	case (n.Tag == "!!int" || n.Tag == "!!float") && !json.Valid([]byte(n.Value)):
		return "", bad(n.Value, "is a number that YAML reads in its own way: in quotes it is taken as it is")
	}
	return n.Value, readable(n.Value)
}

// readable refuses what no value of a file has: control characters, and what is
// not text at all.
func readable(v string) error {
	for _, c := range v {
		if unicode.IsControl(c) || c == unicode.ReplacementChar {
			return bad(v, "contains %q", c)
		}
	}
	return nil
}

// kindName says what a part of a file is, for errors.
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

// checkPlain refuses what YAML has beyond plain values: anchors, which make a
// small file large, and tags, which make other things of values.
func checkPlain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not taken", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: the tag %s is not taken", n.Line, quote(n.Tag))
	}
	for _, c := range n.Content {
		if err := checkPlain(c); err != nil {
			return err
		}
	}
	return nil
}
