package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// licenseFile matches the names of license files.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-.](txt|md|apache|mit|bsd))?$`)

// licenseTexts returns the licenses of the modules in a binary and of the standard library,
// which every copy has to include.
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
