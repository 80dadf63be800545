package options

import (
	"strings"
	"unicode"
)

// suggestion is the option that was perhaps meant by a key of a configuration
// file, as the end of a message; "" when none is near.
func suggestion(key string) string {
	const most = 64
	if len(key) > most {
		return ""
	}
	best, name := 1+len(key)/5, ""
	for _, o := range options {
		switch {
		case o.group == groupInput && o.key() == key:
			return ": it is for the command line alone"
		case o.group == groupInput || o.group == groupRemoved:
			continue
		case o.short != "" && o.short == strings.TrimLeft(key, "-"):
			return ": is " + quote(o.key()) + " meant?"
		}
		for _, known := range append([]string{o.key()}, o.env...) {
			if d := distance(letters(key), letters(known)); d < best {
				best, name = d, o.key()
			}
		}
	}
	if name == "" {
		return ""
	}
	return ": is " + quote(name) + " meant?"
}

// letters are the letters and digits of a name, small: names are often written
// with other dashes and capitals.
func letters(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, name)
}

// distance is how many characters have to be added, dropped or exchanged to make
// one text of the other (Levenshtein).
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
