package options

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfigBytes bounds a configuration file: as much as a ConfigMap holds.
const maxConfigBytes = 1 << 20

// standardInput is the name of the configuration file that is the standard input.
const standardInput = "-"

// readConfig reads the configuration file, if the command line or the environment
// names one, into the values. It returns every problem with the syntax of the file; the
// values are parsed later with all others.
func readConfig(ctx context.Context, values []*flagValue, env Env, stdin io.Reader) []error {
	var named setting
	var set Parsed
	for _, f := range values {
		if f.option.long == "config" {
			named = f.given(env, &set)
		}
	}
	if named.text == "" || named.option.set(&set, named.text) != nil {
		return nil // reported with all other values
	}
	text, err := readFile(ctx, named.text, stdin)
	if err != nil {
		return []error{named.invalid(err)}
	}
	const most = 20
	file := configFile{name: placeName(named.text), values: values, problems: errorList{most: most}}
	document, err := parseConfig(text)
	if err != nil {
		return []error{named.invalid(fmt.Errorf("%s: %w", file.name, err))}
	}
	file.read(document)
	return file.problems.all()
}

// readFile reads a file, which may be a pipe or endless.
func readFile(ctx context.Context, path string, stdin io.Reader) ([]byte, error) {
	return UntilDone(ctx, "read "+placeName(path), func() ([]byte, error) { return readBounded(path, stdin) })
}

// UntilDone calls fn, which may block for ever, and waits until it returns or ctx ends. The
// error of the second names what was being done.
func UntilDone[T any](ctx context.Context, what string, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := fn()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}

func readBounded(path string, stdin io.Reader) ([]byte, error) {
	if path != standardInput {
		file, err := os.Open(path)
		if err != nil {
			return nil, shortPath(err)
		}
		defer file.Close()
		stdin = file
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxConfigBytes+1))
	switch {
	case err != nil:
		return nil, shortPath(err)
	case len(text) > maxConfigBytes:
		return nil, fmt.Errorf("%s has more than %d bytes", placeName(path), maxConfigBytes)
	}
	return text, nil
}

// shortPath shortens the file name of an error.
func shortPath(err error) error {
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%s %s: %w", failed.Op, placeName(failed.Path), failed.Err)
	}
	return err
}

// placeName returns the name of a configuration file for messages and comments.
func placeName(path string) string {
	const most = 60
	switch {
	case path == standardInput:
		return "stdin"
	case len(path) > most:
		path = "..." + path[len(path)-most:]
	}
	if plain := strconv.QuoteToASCII(path); strings.Contains(path, " ") || plain != `"`+path+`"` {
		return plain
	}
	return path
}

// A configFile reads a configuration file into values.
type configFile struct {
	name     string
	values   []*flagValue
	problems errorList
}

// read reads the document of the file; nil if the file is empty.
func (c *configFile) read(document *yaml.Node) {
	switch {
	case document == nil || document.Tag == "!!null":
		return
	case document.Kind != yaml.MappingNode:
		c.problem(document, "%s is not a mapping of options to values", kindName(document))
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(document.Content); i += 2 {
		key, value := document.Content[i], document.Content[i+1]
		first, twice := lines[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			c.problem(key, "%s cannot name an option", kindName(key))
		case twice:
			c.problem(key, "%s is a duplicate key, first on line %d", quote(key.Value), first)
		default:
			lines[key.Value] = key.Line
			c.option(key, value)
		}
	}
}

// option reads one key of the file.
func (c *configFile) option(key, value *yaml.Node) {
	f := c.find(key.Value)
	if f == nil {
		near := ""
		if !c.problems.full() {
			near = suggestion(key.Value)
		}
		c.problem(key, "%s is not an option%s", quote(key.Value), near)
		return
	}
	from := origin{byFile, fmt.Sprintf("%s line %d", c.name, key.Line)}
	text, err := fileText(f.option, value)
	if err != nil {
		c.problems.add(setting{option: f.option, from: from}.invalid(err))
		if value.Kind != yaml.SequenceNode || !f.option.form.list {
			return
		} // else the remaining elements may be bad too
	}
	f.inFile, f.file = from, text
}

// find returns the value of the option that a key names; nil when there is none.
func (c *configFile) find(key string) *flagValue {
	for _, f := range c.values {
		if f.option.inFile() && f.option.key() == key {
			return f
		}
	}
	return nil
}

func (c *configFile) problem(at *yaml.Node, format string, args ...any) {
	c.problems.add(fmt.Errorf("%s line %d: %s: want %s", c.name, at.Line, fmt.Sprintf(format, args...),
		"each option once, named as its long flag without --, or as its variable if it has no flag"))
}
