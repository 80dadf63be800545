package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"istio-init/test/kernel"
)

func TestAWrittenFileHasTheModeAndTheLabelOfTheOneItReplaces(t *testing.T) {
	kernel.Need(t) // root: for the label and the owner
	dir := t.TempDir()
	path, neighbour, fresh := filepath.Join(dir, "x"), filepath.Join(dir, "a"), filepath.Join(dir, "new")
	for p, label := range map[string]string{path: "system_u:object_r:etc_t:s0", neighbour: "system_u:object_r:bin_t:s0"} {
		if err := os.WriteFile(p, []byte("old"), 0o604); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setxattr(p, labelName, []byte(label), 0); err != nil {
			if kernel.Required() {
				t.Fatalf("KERNEL_TESTS=require: no labels in the file system of %s: %v", dir, err)
			}
			t.Skipf("skipped: no labels in the file system of %s: %v", dir, err)
		}
	}
	if err := os.Chown(path, 3, 4); err != nil {
		t.Fatal(err)
	}
	f := readFile(path, mostBytes)
	for _, w := range []WriteFile{
		{Path: path, Content: []byte("new"), Mode: f.Mode, UID: f.UID, GID: f.GID, Temp: dir, Was: f.Content},
		{Path: fresh, Content: []byte("new"), Mode: 0o755, UID: -1, GID: -1, Temp: dir},
	} {
		if err := w.Do(); err != nil {
			t.Fatal(err)
		}
	}
	got := readFile(path, mostBytes)
	if got.Mode != f.Mode || got.UID != 3 || got.GID != 4 || string(got.Content) != "new" {
		t.Errorf("%+v", got)
	}
	for p, want := range map[string]string{path: "system_u:object_r:etc_t:s0", fresh: "system_u:object_r:bin_t:s0"} {
		if l, _ := label(p); l != want {
			t.Errorf("%s has the label %q, want %q", p, l, want)
		}
	}
}

func TestADirectoryThatCannotBeWrittenIsNamed(t *testing.T) {
	kernel.Need(t)
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	err := WriteFile{Path: filepath.Join(dir, "x"), Temp: dir}.Do()
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "directory "+dir+" cannot be written") {
		t.Errorf("%v", err)
	}
	if !lasting(err) {
		t.Error("a watch would go on")
	}
}

func TestAStepChangesNothingThatChangedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Step{
		WriteFile{Path: path, Content: []byte("y"), UID: -1, Temp: dir, Was: []byte("old")},
		WriteFile{Path: path, Content: []byte("y"), UID: -1, Temp: dir},
		WriteFile{Path: filepath.Join(dir, "gone"), UID: -1, Temp: dir, Was: []byte("old")},
		MoveFile{path, path + "2", []byte("old")},
		RemoveFile{Path: path, Temp: dir, Was: []byte("old")},
	} {
		if err := s.Do(); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", s, err)
		}
	}
	left, err := os.ReadDir(dir)
	text, _ := os.ReadFile(path)
	if err != nil || len(left) != 1 || string(text) != "newer" {
		t.Errorf("%v, %v, %q", left, err, text)
	}
}
