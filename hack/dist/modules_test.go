package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// builtList is the list of a binary, as JSON has it.
func builtList(t *testing.T) map[string]any {
	t.Helper()
	text, err := some.moduleList(built(t))
	if err != nil {
		t.Fatal(err)
	}
	var list map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestModuleListsMatchTheGoCommand compares with the modules of the packages according to
// go list, which needs no binary.
func TestModuleListsMatchTheGoCommand(t *testing.T) {
	out, err := output(exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/"+program))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(want)
	want = slices.DeleteFunc(slices.Compact(want), func(s string) bool { return s == "" })
	var got []string
	for _, each := range builtList(t)["components"].([]any) {
		if c := each.(map[string]any); c["name"] != "std" {
			got = append(got, c["name"].(string)+" "+c["version"].(string))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
}

func TestEveryModuleHasItsLicense(t *testing.T) {
	path := built(t)
	text, err := licenseTexts(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range builtList(t)["components"].([]any) {
		component := each.(map[string]any)
		name := component["name"].(string)
		if evidence, _ := component["evidence"].(map[string]any); component["licenses"] == nil && evidence["licenses"] == nil {
			t.Errorf("%s: no license in the list of modules", name)
		}
		if name == "std" {
			name = "the standard library of Go"
		}
		if !strings.Contains(string(text), "\n==== "+name+" ") && !strings.HasPrefix(string(text), "==== "+name+" ") {
			t.Errorf("no license of %s", name)
		}
	}
}

// TestModuleListsAreReproducible: the lists have no random values, and the time of the
// release.
func TestModuleListsAreReproducible(t *testing.T) {
	path := built(t)
	first, err := some.moduleList(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := some.moduleList(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(second)); diff != "" {
		t.Errorf("two lists of one binary (-first +second):\n%s", diff)
	}
	for _, want := range []string{`"timestamp": "2023-11-14T22:13:20Z"`, `"specVersion": "1.5"`, `"version": "v1.2.3"`} {
		if !strings.Contains(string(first), want) {
			t.Errorf("it has no %s", want)
		}
	}
}
