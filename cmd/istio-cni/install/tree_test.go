package install

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
)

var ownProgram = []byte("#!/bin/sh\n# a plugin\n")

// newTarget makes a node with files in its directory of configurations. A content "-> X" is a
// symbolic link.
func newTarget(t testing.TB, files map[string][]byte) Target {
	t.Helper()
	root := t.TempDir()
	target := Target{Dirs: Directories{Bin: filepath.Join(root, "bin"), Conf: filepath.Join(root, "net.d")}}
	for _, d := range []string{target.Dirs.Bin, target.Dirs.Conf} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		path := filepath.Join(target.Dirs.Conf, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if link, ok := bytes.CutPrefix(content, []byte("-> ")); ok && err == nil {
			err = os.Symlink(string(link), path)
		} else if err == nil {
			mode := fs.FileMode(0o640)
			if filepath.Dir(path) == target.Dirs.Bin {
				mode = 0o755
			}
			err = os.WriteFile(path, content, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return target
}

// files returns all files of a node, and their modes and contents.
func files(t testing.TB, target Target) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := filepath.Dir(target.Dirs.Conf)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		all[name] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// loaded returns the types of the plugins that containerd with libcni 1.3 calls for a pod. It
// fails where no pod could start.
func loaded(t testing.TB, target Target) []string {
	t.Helper()
	paths, err := libcni.ConfFiles(target.Dirs.Conf, []string{".conf", ".conflist", ".json"})
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d configurations: %v", len(paths), err)
	}
	sort.Strings(paths)
	var conf *libcni.NetworkConfigList
	if strings.HasSuffix(paths[0], ".conflist") {
		conf, err = libcni.NetworkConfFromFile(paths[0])
	} else {
		var single *libcni.PluginConfig
		if single, err = libcni.ConfFromFile(paths[0]); err == nil { //nolint:staticcheck // containerd calls it
			conf, err = libcni.ConfListFromConf(single) //nolint:staticcheck // containerd calls it
		}
	}
	if err != nil {
		t.Fatalf("no pod can start: %s: %v", paths[0], err)
	}
	var types []string
	for _, p := range conf.Plugins {
		types = append(types, p.Network.Type)
	}
	if slices.Contains(types, pluginType) {
		info, err := os.Stat(target.Dirs.Binary())
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Fatalf("no pod can start: %v, %v", info, err)
		}
	}
	return types
}

// read reads a node.
func read(t testing.TB, target Target) Node {
	t.Helper()
	n, err := ReadNode(target.Dirs, target.Runtimes)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run runs a plan to its end, and checks that another run changes nothing.
func run(t testing.TB, target Target, plan func(Node) (Plan, error)) Plan {
	t.Helper()
	p, err := target.Run(t.Context(), plan, func(Step) {})
	if err != nil {
		t.Fatal(err)
	}
	again, err := target.Run(t.Context(), plan, func(Step) {})
	if err != nil || len(again.Steps) > 0 {
		t.Fatalf("the second run: %v, %v", again.Steps, err)
	}
	return p
}

func installing(m Method) func(Node) (Plan, error) {
	w := Wanted{Entry: []byte(DefaultEntry), Binary: ownProgram, Method: m}
	return func(n Node) (Plan, error) { return PlanInstall(n, w) }
}

func uninstalling(n Node) (Plan, error) { return PlanUninstall(n, ownProgram, false), nil }

func removing(n Node) (Plan, error) { return PlanUninstall(n, ownProgram, true), nil }

func inspect(t testing.TB, target Target) Status {
	t.Helper()
	return Inspect(read(t, target), Expectation{Binary: ownProgram, Entry: []byte(DefaultEntry)})
}

func codes(s Status) []string {
	var cs []string
	for _, p := range s.Problems {
		cs = append(cs, p.Code)
	}
	slices.Sort(cs)
	return slices.Compact(cs)
}
