// Package size says how many cases a test tries: few where only a minute is given,
// many where there is time.
package size

import (
	"os"
	"testing"
)

// Stress tells that tests run in their long form: make stress.
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
