package main

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestCommandsOfTheManifestsAreAccepted parses the arguments of containers and probes in
// examples/cni.
func TestCommandsOfTheManifestsAreAccepted(t *testing.T) {
	paths, err := filepath.Glob("../../examples/cni/*/daemonset.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	calls := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var document yaml.Node
		if err := yaml.Unmarshal(text, &document); err != nil {
			t.Fatal(err)
		}
		for _, args := range commands(&document) {
			calls++
			if code := runCommand(t.Context(), append(args, "--help")); code != 0 { // the help comes after errors about flags
				t.Errorf("%s: %q: exit code %d", path, args, code)
			}
		}
	}
	if calls < 7 {
		t.Errorf("only %d commands were found", calls)
	}
}

// commands returns the values of args, and those of command without the program.
func commands(n *yaml.Node) (all [][]string) {
	for i, child := range n.Content {
		var words []string
		switch {
		case n.Kind != yaml.MappingNode || i%2 == 0 || child.Decode(&words) != nil:
		case n.Content[i-1].Value == "args":
			all = append(all, words)
		case n.Content[i-1].Value == "command":
			all = append(all, words[1:])
		}
		all = append(all, commands(child)...)
	}
	return all
}
