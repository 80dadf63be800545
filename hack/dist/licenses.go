package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenseFile matches the names of license files.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.](txt|md|apache|mit|bsd))?$`)

// licenseTexts returns the licenses of the modules in binaries and of the standard library,
// which every copy has to include.
func licenseTexts(ctx context.Context, binaries ...string) ([]byte, error) {
	root, err := output(exec.CommandContext(ctx, "go", "env", "GOROOT"))
	if err != nil {
		return nil, err
	}
	modules := map[string]string{} // path and version
	var text string
	for _, binary := range binaries {
		info, err := buildinfo.ReadFile(binary)
		if err != nil {
			return nil, err
		}
		if text == "" {
			if text, err = licenseText("the standard library of Go "+info.GoVersion, strings.TrimSpace(root)); err != nil {
				return nil, err
			}
		}
		for _, module := range info.Deps {
			modules[module.Path] = module.Version
		}
	}
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		folder, err := output(exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", path))
		if err != nil {
			return nil, err
		}
		more, err := licenseText(path+" "+modules[path], strings.TrimSpace(folder))
		if err != nil {
			return nil, err
		}
		text += more
	}
	return []byte(text), nil
}

// licenseText returns the license files of a folder.
func licenseText(name, folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("license of %s: %w", name, err)
	}
	var text strings.Builder
	for _, entry := range entries { // sorted by name
		if entry.IsDir() || !licenseFile.MatchString(entry.Name()) {
			continue
		}
		said, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return "", fmt.Errorf("license of %s: %w", name, err)
		}
		fmt.Fprintf(&text, "==== %s: %s\n\n%s\n\n", name, entry.Name(), strings.TrimRight(string(said), "\n"))
	}
	if text.Len() == 0 {
		return "", fmt.Errorf("license of %s: there is none in %s", name, folder)
	}
	return text.String(), nil
}
