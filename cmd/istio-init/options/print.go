package options

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A printForm is the format in which the effective configuration is printed. The zero
// value: it is not printed.
type printForm uint8

const (
	printNothing printForm = iota
	printText
	printJSON
	printYAML
)

var printNames = [...]string{"text", "json", "yaml"}

func printConfigAs(s *Parsed, v string) error {
	if v == "" {
		return nil
	}
	i := slices.Index(printNames[:], v)
	if i < 0 {
		return valueError(v, "")
	}
	s.print = printForm(i + 1)
	return nil
}

// Prints reports whether the options are to be printed by Print, and not used.
func (s *Parsed) Prints() bool { return s.print != printNothing }

// Print prints the effective value of each option, and its origin.
func (s *Parsed) Print(out io.Writer) error {
	shown := slices.DeleteFunc(slices.Clone(s.effective), func(v setting) bool { return !v.option.inFile() })
	var text string
	var err error
	switch s.print {
	case printJSON:
		text, err = configJSON(shown)
	case printYAML:
		text, err = configYAML(shown)
	default:
		text = configText(shown)
	}
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// value returns the value as a configuration file has it: a boolean, a number or a
// string. It is an error if no file can have it.
func (s setting) value() (any, error) {
	text := s.plain()
	if err := readable(text); err != nil {
		return nil, fmt.Errorf("%s: %w, which a configuration file cannot have", s.name(), err)
	}
	if s.option.form.boolean {
		return text == "true", nil
	}
	if n, err := strconv.Atoi(text); err == nil && s.option.form.number == "integer" && !s.option.form.list && strconv.Itoa(n) == text {
		return n, nil
	}
	return text, nil
}

// plain returns the value in one spelling: without spaces and empty elements, and a
// boolean as true or false.
func (s setting) plain() string {
	switch f := s.option.form; {
	case f.boolean:
		on, err := strconv.ParseBool(s.text)
		return strconv.FormatBool(on && err == nil)
	case f.list:
		var elements []string
		for e := range strings.SplitSeq(s.text, ",") {
			if e = strings.Trim(e, " "); e != "" {
				elements = append(elements, e)
			}
		}
		return strings.Join(elements, ",")
	case f.pattern != "":
		return strings.Trim(s.text, " ")
	}
	return s.text
}

func configJSON(shown []setting) (string, error) {
	config, from := map[string]any{}, map[string]string{}
	for _, s := range shown {
		value, err := s.value()
		if err != nil {
			return "", err
		}
		config[s.option.key()], from[s.option.key()] = value, s.from.String()
	}
	return asJSON(map[string]any{"config": config, "from": from})
}

// asJSON returns indented JSON.
func asJSON(document any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(document)
	return b.String(), err
}

// configYAML returns YAML with the origins as comments. A quoted string of Go is one of
// YAML too.
func configYAML(shown []setting) (string, error) {
	var b strings.Builder
	for _, s := range shown {
		value, err := s.value()
		if err != nil {
			return "", err
		}
		text := fmt.Sprint(value)
		if word, ok := value.(string); ok {
			text = strconv.Quote(word)
		}
		fmt.Fprintf(&b, "%-50s # %s\n", s.option.key()+": "+text, s.from)
	}
	return b.String(), nil
}

// tableWidth is the width in columns of the table of the configuration.
const tableWidth = 100

// configText returns a table that fits a terminal.
func configText(shown []setting) string {
	const name, value, from = "OPTION", "VALUE", "FROM"
	names, origins := len(name), len(from)
	for _, s := range shown {
		names, origins = max(names, len(s.option.key())), max(origins, min(len(s.from.String()), mostOrigin))
	}
	width := tableWidth - names - origins - 4
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s  %-*s  %s\n", names, name, width, value, from)
	for _, s := range shown {
		lines := s.lines(width)
		fmt.Fprintf(&b, "%-*s  %-*s  %s\n", names, s.option.key(), width, lines[0], shortened(s.from.String(), mostOrigin))
		for _, line := range lines[1:] {
			fmt.Fprintf(&b, "%-*s  %s\n", names, "", line)
		}
	}
	return b.String()
}

// mostOrigin is the width of the longest variable, with "env ".
const mostOrigin = len("env ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE")

// lines returns the value on at most four lines of that width: a list is broken at its
// commas, and the rest of a longer one is counted.
func (s setting) lines(width int) []string {
	const most = 4
	text := s.plain()
	if quoted := strconv.QuoteToASCII(text); text == "" || quoted != `"`+text+`"` {
		text = quoted
	}
	var lines []string
	line := ""
	elements := strings.SplitAfter(text, ",")
	for i, e := range elements {
		if line != "" && len(line)+len(e) > width {
			lines, line = append(lines, line), ""
		}
		if len(lines) == most-1 && len(line)+len(strings.Join(elements[i:], "")) > width {
			return append(lines, fmt.Sprintf("and %d more", len(elements)-i))
		}
		line += shortened(e, width)
	}
	return append(lines, line)
}

// shortened cuts the middle out of a text that is longer than most bytes.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const gap = "..."
	end := (most - len(gap)) / 2
	return text[:most-len(gap)-end] + gap + text[len(text)-end:]
}
