package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// some is a release for the tests.
var some = release{version: "v1.2.3", time: time.Unix(1_700_000_000, 0).UTC(), ldflags: "-s -w -X main.release=v1.2.3"}

// TestMain runs the tests from the top of the repository, as make dist does.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	m.Run()
}

// built builds the program for this machine and returns its path.
func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := some.build(t.Context(), "", dir); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, program)
}

// teller runs a program and returns what it prints.
func teller(t *testing.T, path string) func(...string) (string, error) {
	t.Helper()
	return func(args ...string) (string, error) { return output(exec.CommandContext(t.Context(), path, args...)) }
}

func TestTarballsAreReproducible(t *testing.T) {
	files := []file{
		{name: "b/c", data: []byte("text\n")},
		{name: "a", data: []byte("program"), executable: true},
	}
	first, err := tarball("top", some.time, files)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tarball("top", some.time, []file{files[1], files[0]})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the bytes depend on the order of the files")
	}
	var got []tar.Header
	for _, h := range headers(t, first) {
		if !h.ModTime.Equal(some.time) {
			t.Errorf("%s: its time is %s", h.Name, h.ModTime)
		}
		got = append(got, tar.Header{Name: h.Name, Mode: h.Mode, Uid: h.Uid, Gid: h.Gid, Uname: h.Uname, Gname: h.Gname, Size: h.Size})
	}
	want := []tar.Header{
		{Name: "top/a", Mode: 0o755, Uname: "root", Gname: "root", Size: 7},
		{Name: "top/b/c", Mode: 0o644, Uname: "root", Gname: "root", Size: 5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the files (-want +got):\n%s", diff)
	}
}

func TestTarballNamesAreUnique(t *testing.T) {
	if _, err := tarball("top", some.time, []file{{name: "a"}, {name: "a"}}); err == nil {
		t.Error("two files of one name were packed")
	}
}

// headers unpacks a tarball.
func headers(t *testing.T, packed []byte) (all []*tar.Header) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zip)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
}

func TestVersionIsAValidFileName(t *testing.T) {
	for version, want := range map[string]bool{
		"v1.2.3": true, "v1.2.3-4-g0123456789ab-dirty": true, "v1.0.0-rc.1+build_2": true,
		"": false, "-X": false, "..": false, "a/b": false, "v1 -X main.x=y": false, "v1'": false,
	} {
		if got := isFileName(version); got != want {
			t.Errorf("isFileName(%q) is %t", version, got)
		}
	}
}

func TestBinaryVersion(t *testing.T) {
	got, err := teller(t, built(t))("version")
	if err != nil {
		t.Fatal(err)
	}
	goVersion, err := output(exec.CommandContext(t.Context(), "go", "env", "GOVERSION"))
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ = strings.Cut(got, "\n") // iptables is below
	if want := program + " v1.2.3 " + strings.TrimSpace(goVersion); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestManPagesHaveTheRelease(t *testing.T) {
	pages, err := some.manPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if page.name == "man/istio-init-apply.8" && bytes.Contains(page.data, []byte(`"8" "Nov 2023" "istio-init v1.2.3"`)) {
			return
		}
	}
	t.Error("none of apply with the time and the version of the release")
}
