package options

import (
	"encoding/json"
)

// A schema is the part of a JSON schema that is used here.
type schema struct {
	Schema      string            `json:"$schema,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Deprecated  bool              `json:"deprecated,omitempty"`
	Type        []string          `json:"type,omitempty"`
	Default     any               `json:"default,omitempty"`
	AnyOf       []schema          `json:"anyOf,omitempty"`
	Enum        []any             `json:"enum,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	Minimum     *uint32           `json:"minimum,omitempty"`
	Maximum     *uint32           `json:"maximum,omitempty"`
	Items       *schema           `json:"items,omitempty"`
	Properties  map[string]schema `json:"properties,omitempty"`
	Additional  *bool             `json:"additionalProperties,omitempty"`
}

// configSchema returns the schema of the configuration file. It accepts all that the
// program accepts, and more: not everything can be said by a pattern or a range.
func configSchema() schema {
	s := schema{
		Schema: "https://json-schema.org/draft/2020-12/schema",
		Title:  "Configuration file of istio-init",
		Description: "Options by the long names of their flags, or by the names of their variables where they have no flag. " +
			"A flag or a variable wins over the file.",
		Type:       []string{"object", "null"},
		Properties: map[string]schema{},
		Additional: new(bool),
	}
	for _, o := range options {
		if o.group != groupInput {
			s.Properties[o.key()] = o.schema()
		}
	}
	return s
}

func (o *option) schema() schema {
	if o.group == groupRemoved {
		return schema{Description: "from an older release, has no effect: " + o.help, Deprecated: true}
	}
	s := o.form.schema()
	s.Description = o.usage()
	if o.def != "" {
		s.Default, _ = setting{option: o, text: o.def}.value() // a file can have each default
	}
	return s
}

// schema returns the schema of the values of a form, in a file.
func (f form) schema() schema {
	switch {
	case f.boolean:
		least, most := uint32(0), uint32(1)
		return schema{
			Type:    []string{"boolean", "string", "integer"},
			Pattern: "^(true|True|TRUE|t|T|1|false|False|FALSE|f|F|0)$", // strconv.ParseBool
			Minimum: &least, Maximum: &most,
		}
	case f.choices != nil:
		s := schema{}
		for _, word := range f.choices {
			s.Enum = append(s.Enum, word)
			if json.Valid([]byte(word)) {
				s.Enum = append(s.Enum, json.Number(word))
			}
		}
		return schema{AnyOf: []schema{s, {Type: []string{"string"}, Pattern: "^ *(" + f.pattern + ") *$"}}}
	case !f.list:
		return f.element("^ *(" + f.pattern + ") *$")
	}
	// Spaces are matched in one way only, or a validator may take exponential time.
	one, all, each := ` *((`+f.pattern+`) *)?`, "", ""
	if f.all {
		all, each = `|^ *\* *$`, `|\*`
	}
	items := f.element("^ *((" + f.pattern + each + ") *)?$")
	s := f.element("^" + one + "(," + one + ")*$" + all)
	s.Type, s.Items = append(s.Type, "array"), &items
	return s
}

// element returns the schema of a string that matches a pattern, or a number.
func (f form) element(pattern string) schema {
	s := schema{Type: []string{"string"}}
	if f.number != "" {
		s.Type = append(s.Type, f.number)
	}
	if f.most > 0 {
		least := uint32(1)
		if f.ids {
			least = 0
		}
		s.Minimum, s.Maximum = &least, &f.most
	}
	if f.pattern != "" {
		s.Pattern = pattern
	}
	return s
}

// Schema returns the JSON schema (draft 2020-12) of the configuration file.
func Schema() (string, error) { return asJSON(configSchema()) }
