// Package report writes answers, for people as text and for programs as JSON: what is
// captured, how rules differ from the wanted ones, the path of a connection.
//
// It takes values and gives text; it reads nothing and changes nothing. Flags are
// spelled in its texts and nowhere below. The keys of JSON and the names that are
// values there do not change. All texts for people are wrapped and coloured by one
// [Styler].
package report
