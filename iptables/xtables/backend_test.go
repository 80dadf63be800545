package xtables

import (
	"errors"
	"os"
	"testing"
)

func TestCloseClosesTheOwnLockAndTheUserNamespaceAlone(t *testing.T) {
	t.Parallel()
	open := func() *os.File {
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		return file
	}
	held, userNS := open(), open()
	b, err := newBackend(Legacy, Config{Held: held, UserNS: userNS, OwnLock: true, Path: "/usr/bin:/bin"})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	for i, file := range b.files {
		_, err := file.Stat()
		if closed := errors.Is(err, os.ErrClosed); closed != (file != held) {
			t.Errorf("file %d of %d: closed: %v", i, len(b.files), closed)
		}
	}
}
