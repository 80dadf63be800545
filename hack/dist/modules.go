package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// A bom is a list of modules in the form of CycloneDX 1.5, as much of it as is
// needed here (https://cyclonedx.org/docs/1.5/json/).
type bom struct {
	Schema     string      `json:"$schema"`
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"` // of the list itself
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"` // what the list is of
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"` // https://github.com/package-url/purl-spec
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

// moduleList is the list of the modules in a binary, as its build info has them,
// and of the standard library.
func (r release) moduleList(path string, binary []byte) ([]byte, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
		Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata: metadata{
			Timestamp: r.time.Format(time.RFC3339),
			Component: component{
				Type: "application", Ref: program, Name: program, Version: r.version,
				Hashes: []hash{{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(binary))}},
			},
		},
		Components: []component{library("std", strings.TrimPrefix(info.GoVersion, "go"))},
	}
	for _, module := range info.Deps {
		module = inUse(module)
		list.Components = append(list.Components, library(module.Path, module.Version))
	}
	text, err := json.MarshalIndent(list, "", "  ")
	return append(text, '\n'), err
}

func library(path, version string) component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", strings.ToLower(path), version)
	return component{Type: "library", Ref: purl, Name: path, Version: version, PURL: purl}
}

// inUse is the module that stands in for another one, or the module itself.
func inUse(module *debug.Module) *debug.Module {
	if module.Replace != nil {
		return module.Replace
	}
	return module
}

// licenseFile is what files are called that have to go with a copy of a module.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.](txt|md|apache|mit|bsd))?$`)

// licenseTexts are the licenses of the modules in a binary and of the standard
// library, which ask to go with every copy.
func licenseTexts(ctx context.Context, binary string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	root, err := output(exec.CommandContext(ctx, "go", "env", "GOROOT"))
	if err != nil {
		return nil, err
	}
	text, err := licenseText("the standard library of Go "+info.GoVersion, strings.TrimSpace(root))
	if err != nil {
		return nil, err
	}
	for _, module := range info.Deps {
		module = inUse(module)
		folder, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module.Path))
		if err != nil {
			return nil, err
		}
		more, err := licenseText(module.Path+" "+module.Version, strings.TrimSpace(folder))
		if err != nil {
			return nil, err
		}
		text += more
	}
	return []byte(text), nil
}

// licenseText is what the license files of a folder say.
func licenseText(name, folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("license of %s: %w", name, err)
	}
	text := ""
	for _, entry := range entries { // sorted by name
		if entry.IsDir() || !licenseFile.MatchString(entry.Name()) {
			continue
		}
		said, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return "", fmt.Errorf("license of %s: %w", name, err)
		}
		text += fmt.Sprintf("==== %s: %s\n\n%s\n\n", name, entry.Name(), strings.TrimRight(string(said), "\n"))
	}
	if text == "" {
		return "", fmt.Errorf("license of %s: there is none in %s", name, folder)
	}
	return text, nil
}
