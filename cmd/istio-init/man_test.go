package main

import (
	goflag "flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

var manDir = goflag.String("man", "", "write the man pages into this directory, as hack/dist does")

// TestManPagesHaveEveryFlag writes the man pages by cobra's generator and looks for
// the commands and their flags.
func TestManPagesHaveEveryFlag(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	root := newRoot(streams{})
	header := &doc.GenManHeader{Section: "8", Source: programName + " " + release}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() {
			continue // cobra's own "help"
		}
		page, err := os.ReadFile(filepath.Join(dir, programName+"-"+c.Name()+".8"))
		if err != nil {
			t.Error(err)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(string(page), f.Name) {
				t.Errorf("the page of %s has no --%s", c.Name(), f.Name)
			}
		})
	}
}
