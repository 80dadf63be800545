package install

import (
	"os"
	"path/filepath"
	"syscall"
)

// labelName is the extended attribute with the SELinux label of a file.
const labelName = "security.selinux"

// labelled returns the file whose label a file at path should have: the one that it
// replaces, or else a neighbour. "": none.
func labelled(path string) string {
	if _, err := os.Stat(path); err == nil {
		return path
	}
	neighbours, _ := os.ReadDir(filepath.Dir(path))
	for _, n := range neighbours {
		if n.Type().IsRegular() && !isTemp(n.Name()) {
			return filepath.Join(filepath.Dir(path), n.Name())
		}
	}
	return ""
}

// copyLabel gives a file the label of another. Without SELinux there is none, and what a
// policy refuses stays as the policy made it.
func copyLabel(from, to string) {
	want, ok := label(from)
	if have, _ := label(to); !ok || have == want {
		return
	}
	_ = syscall.Setxattr(to, labelName, []byte(want), 0)
}

// label returns the label of a file, and whether it has one.
func label(path string) (string, bool) {
	if path == "" {
		return "", false
	}
	var b [256]byte
	n, err := syscall.Getxattr(path, labelName, b[:])
	return string(b[:max(n, 0)]), err == nil && n > 0
}
