package install

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A scene is a node before an installation.
type scene struct {
	name   string
	files  map[string][]byte
	method Method
	after  map[string][]byte // what an uninstallation leaves instead; nil: as before
}

const oldEntry = `{"type":"istio-cni","name":"istio-cni","kubernetes":{"kubeconfig":"/x"}}`

func scenes(t *testing.T) []scene {
	t.Helper()
	var all []scene
	for name, text := range mainConfigs(t) {
		all = append(all, scene{name: "insert-" + name, files: map[string][]byte{name: text, "99-other.conflist": []byte(`{"name":"o","cniVersion":"0.3.1","plugins":[{"type":"x"}]}`)}, method: Insert})
		if strings.HasSuffix(name, ".conflist") {
			all = append(all, scene{name: "drop-in-" + name, files: map[string][]byte{name: text}, method: DropIn})
		}
	}
	calico, ovn := mainConfigs(t)["10-calico.conflist"], mainConfigs(t)["10-ovn-kubernetes.conf"]
	old := mustParse(t, calico).set([]byte(oldEntry))
	other := []byte(`{"name":"o","cniVersion":"0.3.1","plugins":[{"type":"istio-cni"},{"type":"x"},` + oldEntry + `]}`)
	otherAfter := []byte(`{"name":"o","cniVersion":"0.3.1","plugins":[{"type":"x"}]}`)
	ours := map[string][]byte{"10-calico.conflist": calico, "20-other.conflist": otherAfter}
	istio := map[string][]byte{"../bin/istio-cni": []byte("Istio's"), "10-calico.conflist": old, "20-other.conflist": other, "istio-cni.conf": []byte(oldEntry)}
	return append(all,
		scene{"old-entries-insert", istio, Insert, ours},
		scene{"old-entries-drop-in", istio, DropIn, ours},
		scene{"json", map[string][]byte{"10-ovn.json": ovn}, Insert, nil},
		scene{"saved-of-an-older-conversion", map[string][]byte{"10-ovn.conf": ovn, "10-ovn.conf" + savedSuffix: []byte(`{"name":"n","type":"old"}`)}, Insert, map[string][]byte{"10-ovn.conf": ovn}},
	)
}

// TestAKilledRunLeavesANodeThatWorks kills an installation and an uninstallation after each of
// their steps. Pods can start, the status says whether they are captured, and the next run
// has the same result as one that was not killed.
func TestAKilledRunLeavesANodeThatWorks(t *testing.T) {
	for _, s := range scenes(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			whole := newTarget(t, s.files)
			run(t, whole, installing(s.method))
			installed := files(t, whole)
			if got := codes(inspect(t, whole)); len(got) > 0 || !inspect(t, whole).Installed {
				t.Fatalf("after an installation: %v", got)
			}
			run(t, whole, uninstalling)
			removed := files(t, whole)
			for killed := 0; ; killed++ {
				target := newTarget(t, s.files)
				more := killAfter(t, target, installing(s.method), killed)
				checkTruth(t, target)
				run(t, target, installing(s.method))
				compare(t, fmt.Sprintf("installed after a kill at step %d", killed), installed, files(t, target))
				if !more {
					break
				}
			}
			for killed := 0; ; killed++ {
				target := newTarget(t, s.files)
				run(t, target, installing(s.method))
				more := killAfter(t, target, uninstalling, killed)
				checkTruth(t, target)
				run(t, target, uninstalling)
				compare(t, fmt.Sprintf("uninstalled after a kill at step %d", killed), removed, files(t, target))
				if !more {
					break
				}
			}
			run(t, whole, removing)
			if s.after == nil {
				s.after = s.files
			}
			compare(t, "after all", files(t, newTarget(t, s.after)), files(t, whole))
		})
	}
}

func compare(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s (-want +got)\n%s", what, d)
	}
}

// killAfter makes the first n steps of a plan and reports whether there are more.
func killAfter(t *testing.T, target Target, plan func(Node) (Plan, error), n int) bool {
	t.Helper()
	p, err := plan(read(t, target))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps[:min(n, len(p.Steps))] {
		if err := s.Do(); err != nil {
			t.Fatal(err)
		}
	}
	return n < len(p.Steps)
}

// checkTruth compares the status with what a runtime does.
func checkTruth(t *testing.T, target Target) {
	t.Helper()
	types := loaded(t, target)
	s := inspect(t, target)
	calls := 0
	for _, kind := range types {
		if kind == pluginType {
			calls++
		}
	}
	runs := s.Binary.State == binaryCurrent || s.Binary.State == binaryOther
	if captured := calls > 0 && runs; s.Installed != captured {
		t.Errorf("installed %t, and the runtime calls %v, with a binary that is %s", s.Installed, types, s.Binary.State)
	}
	if got := codes(s); slices.Contains(got, "duplicate-entry") != (calls > 1) || !s.Installed && len(got) == 0 {
		t.Errorf("the runtime calls %v, and the problems are %v", types, got)
	}
}
