// Package size scales the number of cases of a test: few for make test-unit, all for make
// stress.
package size

import (
	"os"
	"testing"
)

// Stress reports whether all cases are tested: make stress.
func Stress() bool { return os.Getenv("STRESS") == "1" }

// Of returns one of three numbers: that of "make test-unit", which is go test -short,
// of "make test", or of "make stress".
func Of(unit, all, stress int) int {
	switch {
	case Stress():
		return stress
	case testing.Short():
		return unit
	}
	return all
}
