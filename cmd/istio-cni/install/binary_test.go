package install

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const askVariable = "TEST_PASSES_THROUGH" // makes this program tell what it is

func TestMain(m *testing.M) {
	if os.Getenv(askVariable) != "" {
		fmt.Println(PassesThrough())
		return
	}
	m.Run()
}

func TestOnlyWhatAnUninstallationLeavesPassesResultsThrough(t *testing.T) {
	own, err := ownBinary()
	if err != nil {
		t.Fatal(err)
	}
	once := passThrough(own)
	for want, content := range map[string][]byte{"false": own, "true": once} {
		path := filepath.Join(t.TempDir(), pluginType)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path)
		cmd.Env = []string{askVariable + "=1"}
		said, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(said)) != want {
			t.Errorf("%q, %v, want %s", said, err, want)
		}
	}
	if twice := passThrough(once); len(twice) != len(once) {
		t.Errorf("%d bytes, want %d", len(twice), len(once))
	}
}
