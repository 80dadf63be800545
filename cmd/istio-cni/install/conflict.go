package install

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// watched returns the directories whose changes matter.
func (t Target) watched() []string {
	dirs := []string{filepath.Clean(t.Dirs.Conf), filepath.Clean(t.Dirs.Bin)}
	nets, _ := filepath.Glob(filepath.Join(t.Dirs.Conf, "*", dropInName))
	for _, n := range nets {
		dirs = append(dirs, filepath.Dir(n))
	}
	return dirs
}

// conflictText returns the warning about a program that undoes what is written.
func (t Target) conflictText() string {
	text := fmt.Sprintf("another program, such as the main plugin or an agent of Istio, undid %d changes within %s; from now on there is one every %s", conflictWrites, conflictWindow, conflictPause)
	n, err := ReadNode(t.Dirs, nil)
	if err == nil && n.hasCilium() {
		text += `. Cilium keeps its directory to itself: set its Helm value cni.exclusive to "false", or cni-exclusive in the ConfigMap cilium-config`
	}
	return text
}

// hasCilium reports whether Cilium is the main plugin or has renamed files of others.
func (n Node) hasCilium() bool {
	bak, _ := filepath.Glob(filepath.Join(n.Dirs.Conf, "*.cilium_bak"))
	return len(bak) > 0 || slices.ContainsFunc(readConfs(n.Confs), func(c conf) bool {
		return slices.ContainsFunc(c.list.plugins, func(p plugin) bool { return strings.HasPrefix(p.kind, "cilium") })
	})
}
