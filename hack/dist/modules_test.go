package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// purl is a package URL of a Go module: type, name with its namespace, and version.
var purl = regexp.MustCompile(`^pkg:golang/[a-z0-9./_-]+@v?[0-9][0-9A-Za-z.+-]*$`)

// TestModuleListsHaveWhatCycloneDXRequires reads the list as a program would that
// knows the specification and not this one.
func TestModuleListsHaveWhatCycloneDXRequires(t *testing.T) {
	list := builtList(t)
	for key, want := range map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1.0} {
		if list[key] != want {
			t.Errorf("%s is %v, want %v", key, list[key], want)
		}
	}
	metadata, _ := list["metadata"].(map[string]any)
	components, _ := list["components"].([]any)
	refs := map[any]bool{}
	for _, each := range append(components, metadata["component"]) {
		c, _ := each.(map[string]any)
		if kind := c["type"]; kind != "library" && kind != "application" {
			t.Errorf("%v: its type is %v", c, kind)
		}
		if name, _ := c["name"].(string); name == "" {
			t.Errorf("%v: it has no name", c)
		}
		if refs[c["bom-ref"]] {
			t.Errorf("the reference %v is there twice", c["bom-ref"])
		}
		refs[c["bom-ref"]] = true
		if text, _ := c["purl"].(string); c["type"] == "library" && !purl.MatchString(text) {
			t.Errorf("%q is not a package URL", text)
		}
	}
	if at, _ := metadata["timestamp"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(at) {
		t.Errorf("the time is %q", at)
	}
	main, _ := metadata["component"].(map[string]any)
	hashes, _ := main["hashes"].([]any)
	if len(hashes) != 1 {
		t.Fatalf("the hashes are %v", hashes)
	}
	sum, _ := hashes[0].(map[string]any)
	if text, _ := sum["content"].(string); sum["alg"] != "SHA-256" || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(text) {
		t.Errorf("the hash is %v", sum)
	}
}

// builtList is the list of a binary, as JSON has it.
func builtList(t *testing.T) map[string]any {
	t.Helper()
	path := built(t)
	binary, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := some.moduleList(path, binary)
	if err != nil {
		t.Fatal(err)
	}
	var list map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestModuleListsAreThoseOfTheGoCommand compares with what the packages of the
// binary come from, which does not need a binary.
func TestModuleListsAreThoseOfTheGoCommand(t *testing.T) {
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

func TestEveryModuleBringsItsLicense(t *testing.T) {
	path := built(t)
	text, err := licenseTexts(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range builtList(t)["components"].([]any) {
		name := each.(map[string]any)["name"].(string)
		if name == "std" {
			name = "the standard library of Go"
		}
		if !strings.Contains(string(text), "\n==== "+name+" ") && !strings.HasPrefix(string(text), "==== "+name+" ") {
			t.Errorf("no license of %s", name)
		}
	}
}
