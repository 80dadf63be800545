package options

import (
	"testing"

	"github.com/spf13/pflag"
)

// FuzzMistakes parses any two arguments: each mistake is one line that can be read.
func FuzzMistakes(f *testing.F) {
	for _, args := range [][2]string{
		{"--dryrun", ""},
		{"-istio-inbound-ports", "80"},
		{"-b", "-x"},
		{"-nyé", "--=x"},
		{"--help=x", "–n"},
		{"-\xff", "--\xff\x00="},
		{"-b=80", "443"},
		{"--", "-b"},
		{"-", "check"},
		{"-n", "false"},
		{"--redirect-dns", "\n"},
		{"-bz", "istio-system"},
		{"-=", "80"},
		{"-\x000", ""},
	} {
		f.Add(args[0], args[1])
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		for _, c := range commands {
			set := pflag.NewFlagSet("", pflag.ContinueOnError)
			set.BoolP("help", "h", false, "")
			flags := c.Define(set)
			for _, err := range flags.Mistakes([]string{first, second}) {
				checkLine(t, err.Error())
			}
		}
	})
}
