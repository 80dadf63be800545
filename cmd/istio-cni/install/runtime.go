package install

import (
	"debug/buildinfo"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/containernetworking/cni/pkg/version"
)

// A Runtime is what the program of a container runtime says about itself. It is the program
// on disk: one that runs still may be older.
type Runtime struct {
	Path    string
	Name    string // containerd, cri-o, k3s; "": unknown
	Version string // "": unknown
	LibCNI  string // release of the library that loads configurations; "": unknown
	Err     error  // why nothing is known
}

// The library loads drop-in files from 1.3.0 on. containerd has it from 2.1.
const (
	libCNI         = "github.com/containernetworking/cni"
	libCNIDropIns  = "1.3.0"
	containerdNeed = "1.5.0"
	crioNeed       = "1.29.0"
)

// readRuntimes reads the programs that are there. It starts none of them: the Go linker
// writes the releases of a program's modules into its file.
func readRuntimes(paths []string) []Runtime {
	var rs []Runtime
	for _, p := range paths {
		r := Runtime{Path: p}
		info, err := buildinfo.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.Err = err
		} else {
			r.Name = path.Base(strings.TrimSuffix(info.Main.Path, "/v2"))
			r.Version = release(info.Main.Version)
			for _, m := range info.Deps {
				if m.Path == libCNI {
					if m.Replace != nil {
						m = m.Replace
					}
					r.LibCNI = release(m.Version)
				}
			}
		}
		rs = append(rs, r)
	}
	return rs
}

// release returns a version without its v, and "" where it is none of a release. What follows
// a + tells how it was built.
func release(v string) string {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "+")
	if _, _, _, err := version.ParseVersion(v); err != nil || v == "" {
		return ""
	}
	return v
}

// atLeast reports whether a release is known and not older than another.
func atLeast(v, need string) bool {
	ok, err := version.GreaterThanOrEqualTo(v, need)
	return v != "" && err == nil && ok
}

// readsDropIns reports whether all runtimes of the node are known to load drop-in files.
func readsDropIns(rs []Runtime) bool {
	for _, r := range rs {
		if !atLeast(r.LibCNI, libCNIDropIns) {
			return false
		}
	}
	return len(rs) > 0
}

// passesNoAnnotations reports whether a runtime is known to be too old.
func (r Runtime) passesNoAnnotations() bool {
	need := map[string]string{"containerd": containerdNeed, "cri-o": crioNeed}[r.Name]
	return need != "" && r.Version != "" && !atLeast(r.Version, need)
}

// status returns what is known of a runtime.
func (r Runtime) status() RuntimeStatus {
	s := RuntimeStatus{r.Path, r.Name, r.Version, r.LibCNI, ""}
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	return s
}
