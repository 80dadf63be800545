package e2e

import (
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// largestNative is the maximum size of the image for native nftables.
const largestNative = 8_500_000

// TestNativeImageIsTheProgramAlone checks the files of the image, the size of the program and
// its file capability.
func TestNativeImageIsTheProgramAlone(t *testing.T) {
	needBuilt(t)
	dir, files := mountedImage(t, nativeImage)
	if diff := cmp.Diff([]string{program}, files); diff != "" {
		t.Fatalf("files of the image (-want +got):\n%s", diff)
	}
	file, err := os.Stat(filepath.Join(dir, program))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", file.Size())
	if file.Size() > largestNative {
		t.Errorf("the image has %d bytes, want at most %d", file.Size(), largestNative)
	}
	var attr [20]byte // linux/capability.h, struct vfs_cap_data
	if _, err := unix.Getxattr(filepath.Join(dir, program), "security.capability", attr[:]); err != nil {
		t.Fatalf("the program has no file capability: %v", err)
	}
	permitted, effective := binary.LittleEndian.Uint32(attr[4:]), attr[0]&1
	if permitted != 1<<unix.CAP_NET_ADMIN || effective != 0 {
		t.Errorf("file capabilities %#x, effective %d, want NET_ADMIN, not effective", permitted, effective)
	}
}

// mountedImage mounts an image for the test and returns where, and its files.
func mountedImage(t *testing.T, image string) (dir string, files []string) {
	t.Helper()
	dir = strings.TrimSpace(podman(t, "image", "mount", image))
	t.Cleanup(func() {
		if _, err := runPodman("image", "unmount", image); err != nil {
			t.Error(err)
		}
	})
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return dir, files
}

// TestNativeImageConfiguration checks entry point, user and environment.
func TestNativeImageConfiguration(t *testing.T) {
	needBuilt(t)
	var images []struct {
		Config struct {
			User            string
			Entrypoint, Env []string
		}
	}
	if err := json.Unmarshal([]byte(podman(t, "image", "inspect", nativeImage)), &images); err != nil {
		t.Fatal(err)
	}
	c := images[0].Config
	got := append([]string{c.User, strings.Join(c.Entrypoint, " ")}, c.Env...)
	if diff := cmp.Diff([]string{"0:0", "istio-init", "PATH=/usr/local/bin", "NATIVE_NFTABLES=true"}, got); diff != "" {
		t.Errorf("user, entry point and environment (-want +got):\n%s", diff)
	}
}
