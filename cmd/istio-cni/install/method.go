package install

import (
	"fmt"
	"slices"
	"strings"
)

// A Method is a way to add the plugin to a node's configuration.
type Method string

// The methods.
const (
	Auto       Method = "auto"       // DropIn where the runtime is known to load drop-in files, else Insert
	DropIn     Method = "drop-in"    // a file in the directory with the name of the network
	Insert     Method = "insert"     // the last plugin of the first list
	Standalone Method = "standalone" // a configuration of its own, for Multus
)

// Methods are all methods.
var Methods = []Method{Auto, DropIn, Insert, Standalone}

// ParseMethod returns the method with a name.
func ParseMethod(name string) (Method, error) {
	if !slices.Contains(Methods, Method(name)) {
		return "", fmt.Errorf("%q: want auto, drop-in, insert or standalone", name)
	}
	return Method(name), nil
}

// choose returns the method for a main configuration, and why.
func choose(asked Method, m conf, converted bool, rs []Runtime) (Method, string, error) {
	because, can := dropInNeeds(m, converted, rs)
	switch {
	case asked == DropIn && !can:
		return "", "", fmt.Errorf("method %s: %s", DropIn, because)
	case asked == Insert && len(m.list.plugins) == 0:
		return "", "", fmt.Errorf("method %s: %s has no key plugins; use %s", Insert, m.Path, DropIn)
	case asked != Auto:
		return asked, "as asked", nil
	case len(m.list.plugins) == 0:
		return DropIn, m.Path + " has no key plugins: its plugins are in drop-in files", nil
	case can && readsDropIns(rs):
		return DropIn, because, nil
	}
	return Insert, because, nil
}

// dropInNeeds reports whether a drop-in file may be loaded, and what is known about it.
func dropInNeeds(m conf, converted bool, rs []Runtime) (because string, can bool) {
	switch {
	case m.single || converted:
		return m.Path + " is no list of its main plugin; drop-in files are loaded only for such a list", false
	case m.list.inlineOnly:
		return m.Path + " has loadOnlyInlinedPlugins", false
	case len(rs) == 0:
		return "no program of a runtime is readable here, so that drop-in files are not known to be loaded", true
	}
	can = true
	var known []string
	for _, r := range rs {
		known = append(known, r.status().String())
		can = can && (r.LibCNI == "" || atLeast(r.LibCNI, libCNIDropIns))
	}
	return fmt.Sprintf("drop-in files are loaded by libcni %s and later; here: %s", libCNIDropIns, strings.Join(known, ", ")), can
}
