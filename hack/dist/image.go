package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/textproto"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Files of the image that say what is in it, without the leading slash. Scanners read the
// last two too: each package of Debian has a file there (hack/image-files).
const (
	imagePrograms = "usr/local/bin/"
	imagePackages = "var/lib/dpkg/status.d/"
	imageTexts    = "usr/share/doc/"
)

// imageList writes what is in an image, as CycloneDX: the modules of its programs and the
// Debian packages that its other files are from, each with its licenses. The image is a tar
// archive of its files, as docker export and podman export write it.
func (r release) imageList(archive string, w io.Writer) error {
	in := os.Stdin
	if archive != "-" {
		opened, err := os.Open(archive)
		if err != nil {
			return err
		}
		defer opened.Close() // only read
		in = opened
	}
	content, err := imageFiles(tar.NewReader(bufio.NewReader(in)))
	if err != nil {
		return fmt.Errorf("read the image %s: %w", archive, err)
	}
	list, err := r.listOf(content)
	if err != nil {
		return err
	}
	return encode(list, w)
}

// imageFiles returns the files of the image that say what is in it.
func imageFiles(archive *tar.Reader) (map[string][]byte, error) {
	content := map[string][]byte{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		told := slices.ContainsFunc([]string{imagePrograms, imagePackages, imageTexts}, func(dir string) bool { return strings.HasPrefix(name, dir) })
		if !told || header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		content[name] = data
	}
}

// listOf returns the list of an image by those of its files.
func (r release) listOf(content map[string][]byte) (*cdx.BOM, error) {
	list := cdx.NewBOM()
	list.Metadata = &cdx.Metadata{
		Timestamp: r.timestamp(),
		Component: &cdx.Component{BOMRef: "image", Type: cdx.ComponentTypeContainer, Name: program, Version: r.version},
	}
	var components []cdx.Component
	for _, name := range slices.Sorted(maps.Keys(content)) {
		switch {
		case strings.HasPrefix(name, imagePrograms):
			modules, err := r.programModules(path.Base(name), content[name])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			components = append(components, *modules.Metadata.Component)
			components = append(components, *modules.Components...)
		case strings.HasPrefix(name, imagePackages):
			p, err := debianPackage(content[name], content[imageTexts+path.Base(name)+"/copyright"])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			components = append(components, p)
		}
	}
	if components == nil {
		return nil, fmt.Errorf("no program in /%s: not an image of %s", imagePrograms, program)
	}
	components = slices.CompactFunc(sorted(components), func(a, b cdx.Component) bool { return a.BOMRef == b.BOMRef })
	list.Components = &components
	return list, nil
}

func sorted(components []cdx.Component) []cdx.Component {
	slices.SortStableFunc(components, func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	return components
}

// programModules returns the list of a binary that is not a file yet.
func (r release) programModules(name string, binary []byte) (*cdx.BOM, error) {
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, binary, 0o600); err != nil {
		return nil, err
	}
	return r.modules(file)
}

// debianPackage is a package by its stanza in dpkg's database, and its file of licenses.
func debianPackage(stanza, copyright []byte) (cdx.Component, error) {
	fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimSpace(stanza), "\n\n"...)))).ReadMIMEHeader()
	if err != nil {
		return cdx.Component{}, err
	}
	name, version := fields.Get("Package"), fields.Get("Version")
	purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s", name, url.PathEscape(version), fields.Get("Architecture"))
	licenses := cdx.Licenses{}
	for _, l := range licenseNames(copyright) {
		licenses = append(licenses, cdx.LicenseChoice{License: &cdx.License{Name: l}})
	}
	if len(licenses) == 0 {
		return cdx.Component{}, fmt.Errorf("package %s: no license in its copyright file", name)
	}
	return cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl, Licenses: &licenses}, nil
}

// licenseNames returns the short names in a copyright file of Debian, in its machine
// readable form; of any other form the file itself is the license.
func licenseNames(copyright []byte) []string {
	names := map[string]bool{}
	for line := range strings.Lines(string(copyright)) {
		if name, found := strings.CutPrefix(line, "License:"); found && strings.TrimSpace(name) != "" {
			names[strings.TrimSpace(name)] = true
		}
	}
	if len(names) == 0 && len(copyright) > 0 {
		return []string{"see the copyright file of the package"}
	}
	return slices.Sorted(maps.Keys(names))
}
