package picture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// read reads what iptables-save prints.
func read(t testing.TB, f inet.Family, text string) *infer.Inference {
	t.Helper()
	s, err := iptables.ParseSnapshot(f, text)
	if err != nil {
		t.Fatal(err)
	}
	return infer.Infer(s.Ruleset())
}

// scenario returns the readings of a scenario of the program, one for each family
// that has rules.
func scenario(t testing.TB, name string) []*infer.Inference {
	t.Helper()
	return archive(t, filepath.Join("../../testdata/scenarios", name+".txtar"))
}

// archive returns the readings of the sections ipv4 and ipv6 of a file.
func archive(t testing.TB, path string) []*infer.Inference {
	t.Helper()
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var readings []*infer.Inference
	for _, f := range inet.Families {
		for _, file := range a.Files {
			if file.Name == f.String() {
				readings = append(readings, read(t, f, string(file.Data)))
			}
		}
	}
	return readings
}

// everyDump calls a test for each dump of both variants of iptables, and for each
// family of each scenario.
func everyDump(t *testing.T, test func(t *testing.T, f inet.Family, text string)) {
	t.Helper()
	scenarios, _ := filepath.Glob("../../testdata/scenarios/*.txtar")
	dumps, _ := filepath.Glob("../../iptables/testdata/*.save")
	if len(scenarios) == 0 || len(dumps) == 0 {
		t.Fatal("no scenarios or no dumps")
	}
	run := func(name string, f inet.Family, text []byte) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, f, string(text))
		})
	}
	for _, path := range dumps {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f := inet.IPv4
		if strings.Contains(path, "ipv6") {
			f = inet.IPv6
		}
		run(strings.TrimSuffix(filepath.Base(path), ".save"), f, text)
	}
	for _, path := range scenarios {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range inet.Families {
			for _, file := range a.Files {
				if file.Name == f.String() {
					run(strings.TrimSuffix(filepath.Base(path), ".txtar")+"-"+file.Name, f, file.Data)
				}
			}
		}
	}
}

// everyReading calls a test for the readings of each scenario, of each dump, and of
// what nobody should write.
func everyReading(t *testing.T, test func(*testing.T, []*infer.Inference)) {
	t.Helper()
	everyDump(t, func(t *testing.T, f inet.Family, text string) {
		test(t, []*infer.Inference{read(t, f, text)})
	})
	for _, name := range []string{"redirect-default", "tproxy-default", "dns-servers", "dns-two-families", "virtual-interface", "outbound-everything-at-once"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, scenario(t, name))
		})
	}
	for name, text := range map[string]string{"hostile": hostile(), "many": many(5000), "deep": deep(60), "loops": loops} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, []*infer.Inference{read(t, inet.IPv4, text)})
		})
	}
}
