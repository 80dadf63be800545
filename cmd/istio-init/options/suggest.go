package options

import (
	"slices"
	"strings"
	"unicode"
)

// longest is the length of a name up to which it is compared with others.
const longest = 64

// suggestion returns the end of a message that names the option whose name is most like
// a key of a configuration file; "" if none is.
func suggestion(key string) string {
	var ofFile []*option
	for _, o := range options {
		switch {
		case o.group == groupInput && o.key() == key:
			return " of a file (use the flag)"
		case o.inFile() && o.group != groupRemoved:
			ofFile = append(ofFile, o)
		}
	}
	if o := nearest(key, ofFile); o != nil {
		return " (did you mean " + quote(o.key()) + "?)"
	}
	return ""
}

// nearest returns the option whose short flag a text is, or whose name or variable is most like
// it, or that users look for by it; nil if none is.
func nearest(text string, among []*option) *option {
	if len(text) > longest {
		return nil
	}
	best, found := 1+len(text)/5, (*option)(nil)
	for _, o := range among {
		if o.short != "" && o.short == strings.TrimLeft(text, "-") {
			return o
		}
		for _, known := range append([]string{o.key()}, o.env...) {
			if d := distance(letters(text), letters(known)); d < best {
				best, found = d, o
			}
		}
	}
	for _, o := range among {
		if found == nil && slices.ContainsFunc(strings.Fields(o.also), func(word string) bool { return letters(word) == letters(text) }) {
			return o
		}
	}
	return found
}

// letters returns the letters and digits of a name in lower case: names are often
// written with other dashes and capitals.
func letters(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, name)
}

// distance returns the Levenshtein distance of two texts.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// ownPrefix starts the names of variables that are ours and not Istio's.
const ownPrefix = "ISTIO_INIT_"

// UnknownVariables warns of variables of an environment, as NAME=VALUE, that look like ours and
// are not. Those of a Kubernetes service named istio-init are passed over.
func UnknownVariables(environ []string) (warnings []string) {
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		own, ok := strings.CutPrefix(name, ownPrefix)
		service := own == "PORT" || strings.HasPrefix(own, "PORT_") || strings.HasPrefix(own, "SERVICE_")
		if ok && value != "" && !service && !slices.ContainsFunc(options, func(o *option) bool { return slices.Contains(o.env, name) }) {
			warnings = append(warnings, "env "+quote(name)+" is not a variable of this program and has no effect"+nearestVariable(own))
		}
	}
	return warnings
}

// nearestVariable returns the end of a message that names the variable whose name is most like
// one, both without our prefix; "" if none is.
func nearestVariable(own string) string {
	if len(own) > longest {
		return ""
	}
	best, nearest := 1+len(own)/5, ""
	for _, o := range options {
		for _, known := range o.env {
			if d := distance(letters(own), letters(strings.TrimPrefix(known, ownPrefix))); d < best {
				best, nearest = d, known
			}
		}
	}
	if nearest == "" {
		return ""
	}
	return " (did you mean " + nearest + "?)"
}
