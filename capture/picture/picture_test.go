package picture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"istio-init/capture/infer"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/golden"
)

// TestFormsAreTheGoldens has each form of some scenarios and of dumps; each file
// of testdata holds the forms of one.
func TestFormsAreTheGoldens(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redirect-default", "tproxy-default", "dns-servers", "outbound-everything-at-once", "virtual-and-excluded-interface", "mode-none", "neighbours"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			readings := neighbours(t)
			if name != "neighbours" {
				readings = scenario(t, name)
			}
			a := &txtar.Archive{Comment: []byte("Written by -update: how the rules of " + name + " look.\n")}
			for _, form := range []Format{Tree, Table, JSON, Dot, Mermaid} {
				if form == JSON && name != "redirect-default" {
					continue
				}
				a.Files = append(a.Files, txtar.File{Name: form.String(), Data: []byte(Draw(form, Terminal{}, report.Reason, readings...))})
			}
			golden.File(t, filepath.Join("testdata", name+".txtar"), string(txtar.Format(a)))
		})
	}
}

// neighbours is a reading of foreign rules in a pod, before and after ours.
func neighbours(t testing.TB) []*infer.Inference {
	t.Helper()
	text, err := os.ReadFile("../../iptables/testdata/legacy-ipv4.save")
	if err != nil {
		t.Fatal(err)
	}
	return []*infer.Inference{read(t, inet.IPv4, string(text))}
}

func TestEachFormHasItsName(t *testing.T) {
	t.Parallel()
	for _, want := range Formats {
		text, _ := want.MarshalText()
		var got Format
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	var f Format
	if err := f.UnmarshalText([]byte("png")); err == nil || !strings.Contains(err.Error(), "tree, table") {
		t.Errorf("png: want an error that names the forms, got %v", err)
	}
}

// TestSavedRulesAreThoseOfTheKernel: what was read of a dump is saved as it was.
func TestSavedRulesAreThoseOfTheKernel(t *testing.T) {
	t.Parallel()
	everyDump(t, func(t *testing.T, f inet.Family, text string) {
		s, err := iptables.ParseSnapshot(f, text)
		if err != nil {
			t.Fatal(err)
		}
		want := "# " + saveTool[f] + "\n" + s.String()
		if diff := cmp.Diff(want, Draw(Save, Terminal{}, report.Reason, infer.Infer(s.Ruleset()))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestNothingIsDrawnOfNothing(t *testing.T) {
	t.Parallel()
	for _, form := range Formats {
		for _, readings := range [][]*infer.Inference{nil, {nil}, {infer.Infer(iptables.Ruleset{})}, {infer.Infer(iptables.Ruleset{}), infer.Infer(iptables.Ruleset{Family: inet.IPv6})}} {
			got := Draw(form, Terminal{}, report.Reason, readings...)
			if got != "" && !strings.HasSuffix(got, "\n") {
				t.Errorf("%s of %d readings ends in the middle of a line: %q", form, len(readings), got)
			}
		}
	}
}

// TestBothFamiliesAreDrawnOnceWhereOnlyAddressesDiffer, and a difference is never
// hidden.
func TestBothFamiliesAreDrawnOnceWhereOnlyAddressesDiffer(t *testing.T) {
	t.Parallel()
	v4 := "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\nCOMMIT\n"
	tests := []struct {
		name, v6 string
		want     []string
	}{
		{"addresses", strings.Replace(v4, "127.0.0.1/32", "::1/128", 1), []string{"-d 127.0.0.1|::1 → RETURN", "except addresses"}},
		{"a-rule-more", strings.Replace(v4, "-d 127.0.0.1/32", "-o lo", 1), []string{"-d 127.0.0.1 → RETURN", "-o lo → RETURN", "ipv6\n"}},
		{"negation", strings.Replace(v4, "-d 127.0.0.1/32", "! -d ::1/128", 1), []string{"-d 127.0.0.1 → RETURN", "! -d ::1 → RETURN"}},
		{"policy", strings.NewReplacer("OUTPUT ACCEPT", "OUTPUT DROP", "127.0.0.1/32", "::1/128").Replace(v4), []string{"-d 127.0.0.1 → RETURN", "-d ::1 → RETURN", "DROP"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Draw(Tree, Terminal{}, report.Reason, read(t, inet.IPv6, tt.v6), read(t, inet.IPv4, v4))
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in\n%s", want, got)
				}
			}
		})
	}
}
