package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"slices"
	"time"
)

// tarball packs files below a top folder. Its bytes depend only on the names, the contents
// and the time: files are sorted by name and belong to root, and the gzip header is empty.
func tarball(top string, at time.Time, files []file) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	archive := tar.NewWriter(zip)
	for i, f := range files {
		if i > 0 && f.name == files[i-1].name {
			return nil, fmt.Errorf("%s is there twice", f.name)
		}
		mode := int64(0o644)
		if f.executable {
			mode = 0o755
		}
		header := &tar.Header{
			Name: top + "/" + f.name, Size: int64(len(f.data)), Mode: mode, ModTime: at,
			Typeflag: tar.TypeReg, Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
