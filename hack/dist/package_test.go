package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sassoftware/go-rpmutils"
)

// content is that of a small release.
var content = []file{
	{name: "istio-init", data: []byte("program"), executable: true},
	{name: "man/istio-init.8", data: []byte("page")},
	{name: "completions/zsh/_istio-init", data: []byte("words")},
	{name: unit, data: []byte("ExecStart=/usr/local/bin/istio-init apply\n")},
	{name: "LICENSE", data: []byte("license")},
	{name: "docs/design.md", data: []byte("design")},
}

func TestInstalledFilesHaveTheirPlaces(t *testing.T) {
	var got []string
	for _, f := range installed(content, "/opt/mesh") {
		got = append(got, f.name)
		if strings.HasSuffix(f.name, ".service") && string(f.data) != "ExecStart=/opt/mesh/bin/istio-init apply\n" {
			t.Errorf("the unit: %s", f.data)
		}
	}
	want := []string{
		"/opt/mesh/bin/istio-init", "/opt/mesh/lib/systemd/system/istio-init.service",
		"/opt/mesh/share/doc/istio-init/LICENSE", "/opt/mesh/share/doc/istio-init/docs/design.md",
		"/opt/mesh/share/man/man8/istio-init.8", "/opt/mesh/share/zsh/site-functions/_istio-init",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestInstallAndUninstallLeaveNothingBehind(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "/usr/share/doc/istio-init/mine")
	if err := write(dir, append(installed(content, "/usr"), file{name: "/usr/share/doc/istio-init/mine"})); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "usr/bin/istio-init")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", info, err)
	}
	if err := remove(dir, installed(content, "/usr")); err != nil {
		t.Fatal(err)
	}
	left, err := filesOf(dir)
	if err != nil || len(left) != 1 || left[0].name != kept {
		t.Errorf("left are %v, %v, want only %s", left, err, kept)
	}
}

func TestPackageVersionsSortAsReleasesDo(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3~rc.1", "v1.2.3-4-g0123456789ab": "1.2.3+4.g0123456789ab",
		"v1.2.3-4-g0123456789ab-dirty": "1.2.3+4.g0123456789ab.dirty", "v1.2.3-dirty": "1.2.3+dirty", "0123456789ab-dirty": "0~0123456789ab.dirty",
	} {
		if got := packageVersion(version); got != want {
			t.Errorf("packageVersion(%q) is %q, want %q", version, got, want)
		}
	}
}

// TestPackagesHaveTheFilesOfTheTarball reads both packages by other programs than made them.
func TestPackagesHaveTheFilesOfTheTarball(t *testing.T) {
	made, err := some.packages("amd64", content)
	if err != nil {
		t.Fatal(err)
	}
	again, err := some.packages("amd64", content)
	if err != nil {
		t.Fatal(err)
	}
	for i, pkg := range made {
		if !bytes.Equal(pkg.data, again[i].data) {
			t.Errorf("%s: two builds differ", pkg.name)
		}
		format := filepath.Ext(pkg.name)[1:]
		var want []string
		for _, f := range forFormat(format, installed(content, "/usr")) {
			want = append(want, f.name)
		}
		got := map[string]func(*testing.T, []byte) []string{"deb": debFiles, "rpm": rpmFiles}[format](t, pkg.data)
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("files of %s (-want +got):\n%s", pkg.name, diff)
		}
	}
}

func debFiles(t *testing.T, data []byte) (names []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package.deb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		if os.Getenv("KERNEL_TESTS") == "require" {
			t.Fatal(err)
		}
		t.Skip("skipped, the files of the deb were not read: dpkg-deb is missing")
	}
	out, err := output(exec.CommandContext(t.Context(), "dpkg-deb", "--contents", path))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if name := strings.TrimPrefix(fields[len(fields)-1], "."); !strings.HasSuffix(name, "/") {
			names = append(names, name)
		}
	}
	return names
}

func rpmFiles(t *testing.T, data []byte) (names []string) {
	t.Helper()
	rpm, err := rpmutils.ReadRpm(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	all, err := rpm.Header.GetFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Mode()&0o170000 == 0o100000 {
			names = append(names, f.Name())
		}
	}
	return names
}

func TestImageListNeedsAProgram(t *testing.T) {
	if _, err := some.listOf(map[string][]byte{}); err == nil {
		t.Error("an image without a program has a list")
	}
}

func TestDebianPackagesHaveTheirLicenses(t *testing.T) {
	stanza := "Package: libmnl0\nVersion: 1.0.4-3\nArchitecture: amd64\nDescription: netlink\n more\n"
	c, err := debianPackage([]byte(stanza), []byte("Files: *\nLicense: LGPL-2.1+\n\nFiles: debian/*\nLicense: GPL-2+\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.PackageURL != "pkg:deb/debian/libmnl0@1.0.4-3?arch=amd64" || len(*c.Licenses) != 2 {
		t.Errorf("it is %s with %v", c.PackageURL, c.Licenses)
	}
	if _, err := debianPackage([]byte(stanza), nil); err == nil {
		t.Error("a package without a copyright file has a license")
	}
}
