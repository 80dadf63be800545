package install

import (
	"bytes"
	"fmt"
	"os"
)

// passThroughMark is the end of a binary that passes results through: a program may have
// more bytes than its headers tell. The mark is in the file itself, so that no other binary
// is ever taken for one, and no file beside it can make it one.
const passThroughMark = "\nistio-cni passes results through\n"

// passThrough returns a binary that adds no rules.
func passThrough(binary []byte) []byte {
	return append(bytes.TrimSuffix(bytes.Clone(binary), []byte(passThroughMark)), passThroughMark...)
}

// PassesThrough reports whether the running program is what an uninstallation left: a plugin
// that answers, and makes no rules.
func PassesThrough() bool {
	path, err := os.Executable()
	if err != nil {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	end := make([]byte, len(passThroughMark))
	_, err = f.ReadAt(end, max(info.Size()-int64(len(end)), 0))
	return err == nil && string(end) == passThroughMark
}

// ownBinary returns the content of the running program, as it is to be installed.
func ownBinary() ([]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read this program: %w", err)
	}
	return bytes.TrimSuffix(content, []byte(passThroughMark)), nil
}
