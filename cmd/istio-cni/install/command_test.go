package install

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestMistakesOnANodeAreAnsweredWithTheRemedy has mistakes that are made at the first try.
func TestMistakesOnANodeAreAnsweredWithTheRemedy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, conf := filepath.Join(dir, "bin"), filepath.Join(dir, "net.d")
	list := filepath.Join(dir, "list.json")
	for path, text := range map[string]string{filepath.Join(conf, "10-a.conflist"): twoPlugins, list: "[]"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, line, want string }{
		{"no-configurations", "install --cni-conf-dir " + dir + "/none", "none: no such file or directory; --platform or --cni-conf-dir names another"},
		{"no-configurations-status", "status --cni-conf-dir " + dir + "/none", "none: no such file or directory; --platform or --cni-conf-dir names another"},
		{"no-plugins", "install --cni-conf-dir " + conf + " --cni-bin-dir " + bin, "there is no directory " + bin + "; --platform or --cni-bin-dir names another"},
		{"netconf-no-object", "install --netconf " + list, "list.json: want a JSON object"},
		{"flag-value", "install --method=inline", `--method: "inline": want auto, drop-in, insert or standalone`},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
			root.AddCommand(Commands()...)
			root.SetArgs(strings.Fields(c.line))
			root.SetErr(io.Discard)
			if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}
