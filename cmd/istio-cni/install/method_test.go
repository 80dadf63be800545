package install

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheMethodFollowsFromTheLibraryOfTheRuntime(t *testing.T) {
	runtime := func(libcni string) Runtime { return Runtime{Path: "/r", Name: "containerd", LibCNI: libcni} }
	cases := []struct {
		name     string
		runtimes []Runtime
		want     Method
	}{
		{"none", nil, Insert},
		{"new", []Runtime{runtime("1.3.0")}, DropIn},
		{"old", []Runtime{runtime("1.2.3")}, Insert},
		{"unknown", []Runtime{runtime("")}, Insert},
		{"one-of-two", []Runtime{runtime("1.3.1"), runtime("1.1.2")}, Insert},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins}))
			n := read(t, target)
			n.Runtimes = c.runtimes
			p, err := installing(Auto)(n)
			if err != nil || p.Method != c.want {
				t.Errorf("%s (%s), %v, want %s", p.Method, p.Because, err, c.want)
			}
			_, err = installing(DropIn)(n)
			if old := c.name == "old" || c.name == "one-of-two"; (err != nil) != old {
				t.Errorf("drop-in: %v", err)
			}
		})
	}
}

func TestOnlyProgramsThatAreThereAreReadForTheirReleases(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	rs := readRuntimes([]string{self, filepath.Join(t.TempDir(), "none"), text})
	if len(rs) != 2 || rs[0].Name != "istio-init" || rs[0].Err != nil || rs[1].Err == nil {
		t.Errorf("%+v", rs)
	}
	for v, want := range map[string]string{"v1.7.0+incompatible": "1.7.0", "v2.1.0": "2.1.0", "(devel)": "", "v1.3.0-rc1": "", "": ""} {
		if got := release(v); got != want {
			t.Errorf("release %q: %q, want %q", v, got, want)
		}
	}
	for v, old := range map[string]bool{"1.4.13": true, "1.5.0": false, "2.1.4": false, "": false} {
		if got := (Runtime{Name: "containerd", Version: v}).passesNoAnnotations(); got != old {
			t.Errorf("containerd %q: too old %t, want %t", v, got, old)
		}
	}
}
