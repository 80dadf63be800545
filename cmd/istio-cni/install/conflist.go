package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

// pluginType is the type of our entries, and the name of the binary.
const pluginType = "istio-cni"

// A list is the text of a network configuration list, as files with the suffix .conflist
// have it, and the places of its plugins in the text.
type list struct {
	text       []byte
	name       string // of the network
	version    string // cniVersion; "": none, as 0.1.0
	inlineOnly bool   // loadOnlyInlinedPlugins: the runtime loads no drop-in files
	plugins    []plugin
}

// A plugin is an element of the key plugins.
type plugin struct {
	start, end int // of its text
	kind       string
}

// parseList reads a list as libcni does. It accepts a list without plugins, whose plugins are
// all in drop-in files.
func parseList(text []byte) (list, error) {
	l := list{text: text}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return l, err
	}
	if err := requiredString(top, "name", &l.name); err != nil {
		return l, err
	}
	if _, ok := top["cniVersion"]; ok {
		if err := requiredString(top, "cniVersion", &l.version); err != nil {
			return l, err
		}
	}
	var versions []string
	_ = json.Unmarshal(top["cniVersions"], &versions) // else there are none
	for _, v := range versions {
		if l.version == "" || atLeast(v, l.version) && atLeast(version.Current(), v) {
			l.version = v
		}
	}
	var only any
	if raw, ok := top["loadOnlyInlinedPlugins"]; ok && json.Unmarshal(raw, &only) == nil {
		l.inlineOnly = strings.EqualFold(fmt.Sprint(only), "true")
	}
	if _, ok := top["plugins"]; !ok {
		return l, nil
	}
	err := l.findPlugins()
	return l, err
}

// requiredString sets to to the string of a key.
func requiredString(top map[string]json.RawMessage, key string, to *string) error {
	var value any
	_ = json.Unmarshal(top[key], &value) // else value is nil
	s, ok := value.(string)
	if !ok {
		return fmt.Errorf("key %s: want a string", key)
	}
	*to = s
	return nil
}

// findPlugins sets plugins. Of a key that is there twice the last one counts, as for libcni.
func (l *list) findPlugins() error {
	dec := json.NewDecoder(bytes.NewReader(l.text))
	_, _ = dec.Token() // "{", as the text is a valid object
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		if key == "plugins" {
			err = l.readPlugins(dec)
		} else {
			err = dec.Decode(new(json.RawMessage))
		}
		if err != nil {
			return err
		}
	}
	if len(l.plugins) == 0 {
		return errors.New("key plugins: the list is empty")
	}
	return nil
}

// readPlugins reads the value of the key plugins.
func (l *list) readPlugins(dec *json.Decoder) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("key plugins: want a list")
	}
	l.plugins = nil
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		kind, err := kindOf(raw)
		if err != nil {
			return fmt.Errorf("plugin %d: %w", len(l.plugins)+1, err)
		}
		end := int(dec.InputOffset())
		l.plugins = append(l.plugins, plugin{end - len(raw), end, kind})
	}
	_, err := dec.Token()
	return err
}

// kindOf returns the type of a plugin. The common keys have to be as libcni wants them.
func kindOf(text []byte) (string, error) {
	var p types.PluginConf
	if err := json.Unmarshal(text, &p); err != nil {
		return "", err
	}
	if p.Type == "" {
		return "", errors.New("key type: want a string")
	}
	return p.Type, nil
}

// ours returns the indices of our entries.
func (l *list) ours() []int {
	var at []int
	for i, p := range l.plugins {
		if p.kind == pluginType {
			at = append(at, i)
		}
	}
	return at
}

// onlyOurs reports whether the list has no plugin but ours.
func (l *list) onlyOurs() bool {
	return len(l.plugins) > 0 && len(l.ours()) == len(l.plugins)
}

// set returns the text with one entry of ours. A new one is the last plugin. One that is there
// keeps its place, as another program may have a reason to add a plugin after it; the last one
// stays of several. All other text stays.
func (l *list) set(entry []byte) []byte {
	at := l.ours()
	if len(at) == 0 {
		last := l.plugins[len(l.plugins)-1]
		return splice(l.text, last.end, last.end, ","+l.spaceBefore(last)+l.format(entry, last))
	}
	keep := at[len(at)-1]
	p := l.plugins[keep]
	piece := string(l.text[p.start:p.end])
	if !sameJSON([]byte(piece), entry) {
		piece = l.format(entry, p)
	}
	return l.without(func(i int) bool { return i != keep && l.plugins[i].kind == pluginType }, keep, piece)
}

// strip returns the text without our entries, and nil if no plugin is left.
func (l *list) strip() []byte {
	if l.onlyOurs() {
		return nil
	}
	return l.without(func(i int) bool { return l.plugins[i].kind == pluginType }, -1, "")
}

// without returns the text without some, not all, of its plugins, and with another text for
// plugin at; -1: for none.
func (l *list) without(goes func(i int) bool, at int, piece string) []byte {
	first := 0 // that stays
	for goes(first) {
		first++
	}
	text := l.text
	for i := len(l.plugins) - 1; i >= first; i-- { // from the end, so that earlier places stay
		p := l.plugins[i]
		switch {
		case i == at:
			text = splice(text, p.start, p.end, piece)
		case goes(i):
			text = splice(text, l.plugins[i-1].end, p.end, "")
		}
	}
	if first > 0 {
		text = splice(text, l.plugins[0].start, l.plugins[first].start, "")
	}
	return text
}

// spaceBefore returns the white space in front of a plugin.
func (l *list) spaceBefore(p plugin) string {
	before := l.text[:p.start]
	return string(before[len(bytes.TrimRight(before, " \t\r\n")):])
}

// format returns the entry in the style of a plugin beside it: on one line, or indented.
func (l *list) format(entry []byte, beside plugin) string {
	var b bytes.Buffer
	_, second, several := strings.Cut(string(l.text[beside.start:beside.end]), "\n")
	if !several {
		_ = json.Compact(&b, entry) // the entry is valid JSON
		return b.String()
	}
	space := l.spaceBefore(beside)
	prefix := space[strings.LastIndexByte(space, '\n')+1:]
	unit, ok := strings.CutPrefix(second[:len(second)-len(strings.TrimLeft(second, " \t"))], prefix)
	if !ok || unit == "" {
		unit = "  "
	}
	_ = json.Indent(&b, entry, prefix, unit)
	return b.String()
}

// convert returns the list that a runtime makes of a configuration with one plugin, as files
// with the suffixes .conf and .json have it.
func convert(single []byte) ([]byte, error) {
	if _, err := kindOf(single); err != nil {
		return nil, err
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(single, &top); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("{")
	for _, key := range []string{"cniVersion", "name"} {
		if raw, ok := top[key]; ok {
			fmt.Fprintf(&b, "%q: %s, ", key, raw)
		}
	}
	fmt.Fprintf(&b, `"plugins": [%s]}`, bytes.TrimSpace(single))
	var text bytes.Buffer
	if err := json.Indent(&text, b.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	text.WriteString("\n")
	return text.Bytes(), nil
}

// sameJSON reports whether two valid texts differ in nothing but white space.
func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// splice returns the text with another piece from start to end.
func splice(text []byte, start, end int, piece string) []byte {
	return bytes.Join([][]byte{text[:start], []byte(piece), text[end:]}, nil)
}
