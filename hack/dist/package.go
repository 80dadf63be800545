package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

// formats are the package formats of nfpm that are released.
var formats = []string{"deb", "rpm"}

// packages returns a package of each format with the files of a tarball. Installing one
// starts nothing. Removing one stops the unit, which removes the rules.
func (r release) packages(arch string, content []file) (made []file, err error) {
	dir, err := os.MkdirTemp("", "package")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, format := range formats {
		data, err := r.pack(format, arch, filepath.Join(dir, format), content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", format, err)
		}
		made = append(made, file{name: fmt.Sprintf("%s-%s-linux-%s.%s", program, r.version, arch, format), data: data})
	}
	return made, nil
}

// pack makes one package from files that it writes to dir.
func (r release) pack(format, arch, dir string, content []file) ([]byte, error) {
	content = forFormat(format, installed(content, "/usr"))
	root := filepath.Join(dir, "root")
	if err := write(root, content); err != nil {
		return nil, err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: program, Arch: arch, Platform: "linux", Version: packageVersion(r.version), VersionSchema: "none", Release: "1",
		Section: "net", Priority: "optional", License: "Apache-2.0", Maintainer: "The istio-init authors <istio-init@localhost>",
		Description: "Traffic interception for the sidecar proxy of a service mesh\n" +
			"Redirects TCP traffic and DNS queries of a pod or VM through its proxy, by\n" +
			"iptables or nftables, and tells what the rules of a pod capture and why.",
		MTime: r.time, DisableGlobbing: true,
	})
	info.Recommends = []string{"iptables"} // native nftables needs no program
	info.RPM.BuildHost, info.RPM.Summary = "localhost", "Traffic interception for the sidecar proxy of a service mesh"
	info.Scripts.PostInstall, info.Scripts.PreRemove = filepath.Join(dir, "postinstall"), filepath.Join(dir, "preremove")
	for path, script := range map[string]string{info.Scripts.PostInstall: afterInstall, info.Scripts.PreRemove: beforeRemove} {
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			return nil, err
		}
	}
	for _, f := range content {
		mode := os.FileMode(0o644)
		if f.executable {
			mode = 0o755
		}
		info.Contents = append(info.Contents, &files.Content{
			Source: filepath.Join(root, f.name), Destination: f.name, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: r.time, Owner: "root", Group: "root"},
		})
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return nil, err
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return nil, err
	}
	var data bytes.Buffer
	err = packager.Package(info, &data)
	return data.Bytes(), err
}

// forFormat moves files to where the distributions of a format look for them.
func forFormat(format string, content []file) []file {
	if format == "deb" {
		for i := range content {
			content[i].name = strings.Replace(content[i].name, "/zsh/site-functions/", "/zsh/vendor-completions/", 1)
		}
	}
	return content
}

// The scripts of both formats. systemd is told of the unit where it runs. "remove" is the
// argument of dpkg, "0" that of rpm; an upgrade keeps the unit active, and so the rules.
const (
	afterInstall = "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n"
	beforeRemove = "#!/bin/sh\nset -e\ncase $1 in remove | 0) if [ -d /run/systemd/system ]; then systemctl disable --now istio-init.service; fi ;; esac\n"
)

// described is a version as git describe prints it, with or without commits after the tag.
var described = regexp.MustCompile(`^v?([0-9]+\.[0-9]+\.[0-9]+)(?:-([0-9]+-g[0-9a-f]+(?:-dirty)?|dirty)|-(.+))?$`)

// packageVersion returns the version of a package: after a tag +, before a tag ~, and
// without a tag one that is older than all tags. A package version has no hyphen.
func packageVersion(version string) string {
	dots := strings.NewReplacer("-", ".", "_", ".").Replace
	m := described.FindStringSubmatch(version)
	switch {
	case m == nil:
		return "0~" + dots(version)
	case m[2] != "":
		return m[1] + "+" + dots(m[2])
	case m[3] != "":
		return m[1] + "~" + dots(m[3])
	}
	return m[1]
}
