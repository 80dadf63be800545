package picture

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"istio-init/cmd/istio-init/report"
	"istio-init/netutil/inet"
)

// TestGraphvizDrawsEveryGraph: dot takes the graphs of a sample of scenarios and of foreign
// rules without a complaint.
func TestGraphvizDrawsEveryGraph(t *testing.T) {
	t.Parallel()
	dot, err := exec.LookPath("dot")
	switch {
	case err != nil && os.Getenv("KERNEL_TESTS") == "require":
		t.Fatal("dot is missing: install graphviz")
	case err != nil:
		t.Skip("dot is missing: install graphviz")
	}
	graphs := []string{Draw(Dot, Terminal{}, report.Reason), Draw(Dot, Terminal{}, report.Reason, read(t, inet.IPv4, hostile())), Draw(Dot, Terminal{}, report.Reason, read(t, inet.IPv4, many(5000)))}
	for _, name := range []string{"redirect-default", "tproxy-dns", "dns-servers", "outbound-everything-at-once", "long-exclude-list"} {
		graphs = append(graphs, Draw(Dot, Terminal{}, report.Reason, scenario(t, name)...))
	}
	foreign, _ := filepath.Glob("testdata/rules/*.txtar")
	for _, path := range foreign {
		graphs = append(graphs, Draw(Dot, Terminal{}, report.Reason, archive(t, path)...))
	}
	cmd := exec.CommandContext(t.Context(), dot, "-Tsvg")
	var said strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(graphs, "")), &said
	out, err := cmd.Output()
	if err != nil || strings.Contains(said.String(), "Error") {
		t.Fatalf("%v:\n%s", err, said.String())
	}
	if got := strings.Count(string(out), "<svg"); got != len(graphs) {
		t.Errorf("want %d pictures, got %d", len(graphs), got)
	}
}
