package install

import (
	"bytes"
	"path/filepath"
	"strings"
)

// A conf is a configuration as a runtime reads it.
type conf struct {
	File
	list   list // of a single plugin the list that a runtime makes of it
	single bool // the file is no list, but one plugin
	err    error
}

// readConfs parses what a runtime reads, in its order.
func readConfs(files []File) []conf {
	var cs []conf
	for _, f := range files {
		c := conf{File: f, single: filepath.Ext(f.Path) != ".conflist", err: f.Err}
		switch {
		case c.err != nil:
		case c.single:
			c.list, c.err = asList(f.Content)
		default:
			c.list, c.err = parseList(f.Content)
		}
		cs = append(cs, c)
	}
	return cs
}

// asList returns one plugin as a list.
func asList(single []byte) (list, error) {
	text, err := convert(single)
	if err != nil {
		return list{}, err
	}
	return parseList(text)
}

// hasOurs reports whether an entry of ours is in the file.
func (c conf) hasOurs() bool { return c.err == nil && len(c.list.ours()) > 0 }

// isMain reports whether the file can be the configuration of pods.
func (c conf) isMain() bool { return c.err == nil && !c.list.onlyOurs() }

// entries returns the text of our entries.
func (c conf) entries() [][]byte {
	var texts [][]byte
	for _, i := range c.list.ours() {
		p := c.list.plugins[i]
		texts = append(texts, c.list.text[p.start:p.end])
	}
	return texts
}

// listPath is where a configuration of one plugin becomes a list.
func listPath(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + ".conflist"
}

// A directory is the configurations of a node and how they belong together.
type directory struct {
	confs []conf
	saved []File
}

// at returns the configuration with a path; nil: there is none.
func (d directory) at(path string) *conf {
	for i := range d.confs {
		if d.confs[i].Path == path {
			return &d.confs[i]
		}
	}
	return nil
}

// main returns the configuration that the runtime uses for pods, as of CRI-O: the first
// valid one; nil: there is none. invalid are those in front of it; containerd uses none
// while they are there.
func (d directory) main() (main *conf, invalid []conf) {
	for i, c := range d.confs {
		switch {
		case c.err != nil:
			invalid = append(invalid, c)
		case c.isMain():
			if live := d.origin(c).live; live != nil {
				return live, invalid // a conversion that has not been completed
			}
			return &d.confs[i], invalid
		}
	}
	return nil, invalid
}

// first returns the configuration that the runtime uses at this moment.
func (d directory) first() *conf {
	for i, c := range d.confs {
		if c.isMain() {
			return &d.confs[i]
		}
	}
	return nil
}

// An origin is what a list of ours was made from.
type origin struct {
	live  *conf // still where it was
	saved *File // set aside
}

// origin returns what a list was made from, if it is a list that we made of one plugin and
// that nobody changed since.
func (d directory) origin(c conf) origin {
	var o origin
	if c.single || !c.hasOurs() {
		return o
	}
	text := c.list.strip()
	for i, s := range d.confs {
		if s.single && s.isMain() && listPath(s.Path) == c.Path && bytes.Equal(s.list.text, text) {
			o.live = &d.confs[i]
		}
	}
	for i, s := range d.saved {
		path := strings.TrimSuffix(s.Path, savedSuffix)
		made, err := convert(s.Content)
		if s.Err == nil && err == nil && listPath(path) == c.Path && bytes.Equal(made, text) {
			o.saved = &d.saved[i]
		}
	}
	return o
}
