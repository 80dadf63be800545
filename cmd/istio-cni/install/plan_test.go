package install

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoPlugins = `{"name":"net","cniVersion":"1.0.0","plugins":[{"type":"bridge"},{"type":"portmap"}]}`

func TestTheFirstValidConfigurationGetsTheEntry(t *testing.T) {
	cases := []struct {
		name    string
		files   map[string]string
		main    string
		types   []string // of the file with the entry
		warning string
	}{
		{"name-order", map[string]string{"20-b.conflist": twoPlugins, "10-a.conflist": twoPlugins}, "10-a.conflist", []string{"bridge", "portmap", pluginType}, ""},
		{"other-suffix", map[string]string{"05-a.conf.bak": twoPlugins, "10-a.conflist": twoPlugins}, "10-a.conflist", []string{"bridge", "portmap", pluginType}, ""},
		{"invalid-in-front", map[string]string{"05-a.conflist": `{"name":`, "10-a.conflist": twoPlugins}, "10-a.conflist", []string{"bridge", "portmap", pluginType}, "05-a.conflist is invalid"},
		{"dangling-symlink", map[string]string{"05-a.conflist": `-> nowhere`, "10-a.conflist": twoPlugins}, "10-a.conflist", []string{"bridge", "portmap", pluginType}, "05-a.conflist is invalid"},
		{"list-in-conf", map[string]string{"05-a.conf": twoPlugins, "10-a.conflist": twoPlugins}, "10-a.conflist", []string{"bridge", "portmap", pluginType}, "05-a.conf is invalid"},
		{"conf", map[string]string{"10-a.conf": `{"name":"net","cniVersion":"0.4.0","type":"ptp"}`}, "10-a.conf", []string{"ptp", pluginType}, ""},
		{"json", map[string]string{"10-a.json": `{"name":"net","cniVersion":"0.4.0","type":"ptp"}`}, "10-a.json", []string{"ptp", pluginType}, ""},
		{"twice", map[string]string{"10-a.conflist": `{"name":"net","cniVersion":"1.0.0","plugins":[{"type":"istio-cni"},{"type":"a"},{"type":"istio-cni"},{"type":"b"}]}`}, "10-a.conflist", []string{"a", pluginType, "b"}, ""},
		{"versions", map[string]string{"10-a.conflist": `{"name":"net","cniVersions":["0.2.0","1.1.0"],"plugins":[{"type":"a"}]}`}, "10-a.conflist", []string{"a", pluginType}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := newTarget(t, texts(c.files))
			p := run(t, target, installing(Auto))
			if got := filepath.Base(p.Main); got != c.main || p.Method != Insert {
				t.Errorf("main %s by %s, want %s by %s", got, p.Method, c.main, Insert)
			}
			text, err := os.ReadFile(listPath(filepath.Join(target.Dirs.Conf, c.main)))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.types, kinds(t, text)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if got := strings.Join(p.Warnings, "\n"); !strings.Contains(got, c.warning) || c.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, c.warning)
			}
		})
	}
}

func texts(files map[string]string) map[string][]byte {
	all := map[string][]byte{}
	for name, text := range files {
		all[name] = []byte(text)
	}
	return all
}

func TestAnInstallationThatCannotWorkChangesNothing(t *testing.T) {
	single := `{"name":"net","cniVersion":"0.4.0","type":"ptp"}`
	cases := []struct {
		name   string
		files  map[string]string
		method Method
		want   string
	}{
		{"nothing", nil, Auto, "no valid configuration of a main plugin is there yet"},
		{"only-invalid", map[string]string{"10-a.conflist": "{"}, Auto, "no valid configuration"},
		{"only-ours", map[string]string{"10-a.conf": oldEntry}, Auto, "no valid configuration"},
		{"ambient", map[string]string{"10-a.conflist": `{"name":"n","cniVersion":"1.0.0","plugins":[{"type":"a"},{"type":"istio-cni","ambient_enabled":true}]}`}, Auto, "10-a.conflist: ambient_enabled is true"},
		{"old-version", map[string]string{"10-a.conflist": `{"name":"n","cniVersion":"0.2.0","plugins":[{"type":"a"}]}`}, Auto, `cniVersion "0.2.0": want 0.3.0 or later`},
		{"no-version", map[string]string{"10-a.conf": `{"name":"n","type":"a"}`}, Auto, `cniVersion "": want 0.3.0 or later`},
		{"both-names", map[string]string{"10-a.conf": single, "10-a.conflist": twoPlugins}, Auto, "remove one of them"},
		{"drop-in-of-one-plugin", map[string]string{"10-a.conf": single}, DropIn, "is no list of its main plugin"},
		{"drop-in-refused-by-the-list", map[string]string{"10-a.conflist": `{"name":"n","cniVersion":"1.0.0","loadOnlyInlinedPlugins":true,"plugins":[{"type":"a"}]}`}, DropIn, "has loadOnlyInlinedPlugins"},
		{"insert-without-plugins", map[string]string{"10-a.conflist": `{"name":"n","cniVersion":"1.0.0"}`}, Insert, "has no key plugins"},
		{"path-as-name", map[string]string{"10-a.conflist": `{"name":"../x","cniVersion":"1.0.0","plugins":[{"type":"a"}]}`}, DropIn, "invalid characters"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := newTarget(t, texts(c.files))
			before := files(t, target)
			_, err := target.Run(t.Context(), installing(c.method), func(Step) {})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			compare(t, "after the error", before, files(t, target))
		})
	}
}

func TestAFileThatChangedMeanwhileIsPlannedForAnew(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins}))
	path := filepath.Join(target.Dirs.Conf, "10-a.conflist")
	newer := strings.ReplaceAll(twoPlugins, "portmap", "bandwidth")
	plans := 0
	_, err := target.Run(t.Context(), func(n Node) (Plan, error) {
		p, err := installing(Insert)(n)
		if plans++; plans == 1 { // between reading and writing
			err = errors.Join(err, os.WriteFile(path, []byte(newer), 0o640))
		}
		return p, err
	}, func(Step) {})
	if err != nil || plans != 2 {
		t.Fatalf("%d plans, %v", plans, err)
	}
	if got := loaded(t, target); !slices.Equal(got, []string{"bridge", "bandwidth", pluginType}) {
		t.Errorf("%v", got)
	}
	plans = 0
	_, err = target.Run(t.Context(), func(n Node) (Plan, error) {
		p, _ := uninstalling(n)
		plans++
		next := strings.Repeat(" ", plans) + strings.Replace(newer, `"bandwidth"}`, `"bandwidth"},`+oldEntry, 1)
		return p, os.WriteFile(path, []byte(next), 0o640)
	}, func(Step) {})
	if !errors.Is(err, ErrChanged) || plans != 5 {
		t.Errorf("%d plans, %v", plans, err)
	}
}

// TestWhateverHasTheNameOfTheBinaryIsReplaced: a pipe that nobody writes is not opened.
func TestWhateverHasTheNameOfTheBinaryIsReplaced(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"large": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o755), os.Truncate(path, mostBinary+1))
		},
		"fifo":          func(path string) error { return syscall.Mkfifo(path, 0o755) },
		"dangling-link": func(path string) error { return os.Symlink("nowhere", path) },
	} {
		for _, method := range []func(Node) (Plan, error){installing(Insert), uninstalling, removing} {
			target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins}))
			if err := put(target.Dirs.Binary()); err != nil {
				t.Fatal(err)
			}
			run(t, target, method)
			if f := read(t, target).Binary; f != nil && (f.Err != nil || !bytes.HasPrefix(f.Content, ownProgram)) {
				t.Errorf("%s: %v, %d bytes", name, f.Err, len(f.Content))
			}
		}
	}
}

// TestARunThatWaitsForAnotherEndsWithItsContext has another run that does not end.
func TestARunThatWaitsForAnotherEndsWithItsContext(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins}))
	unlock, err := lock(t.Context(), target.Dirs.Conf, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := target.Run(ctx, installing(Insert), func(Step) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("an installation: %v", err)
	}
	if _, err := target.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a status: %v", err)
	}
}

func TestASymbolicLinkStaysOne(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"10-a.conflist": "-> ../elsewhere", "../elsewhere": twoPlugins}))
	run(t, target, installing(Insert))
	if got := loaded(t, target); !slices.Contains(got, pluginType) {
		t.Errorf("%v", got)
	}
	info, err := os.Lstat(filepath.Join(target.Dirs.Conf, "10-a.conflist"))
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestTwoNamesOfOneFileKeepTheEntry has a link to the configuration beside it: what is taken out of
// the one would be gone from the other.
func TestTwoNamesOfOneFileKeepTheEntry(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"10-a.conflist": twoPlugins, "11-b.conflist": "-> 10-a.conflist"}))
	for range 2 {
		run(t, target, installing(Insert))
		if got := loaded(t, target); !slices.Contains(got, pluginType) {
			t.Errorf("%v", got)
		}
	}
}

func TestEntriesThatFailEachPodAreRefused(t *testing.T) {
	t.Parallel()
	for _, defaults := range []string{`{"proxy_uid":"root"}`, `{"redirect_dns":true,"capture_all_dns":false}`, `{"istio_inbound_interception_mode":"X"}`, `{"dry_run":true}`} {
		text := []byte(strings.TrimSuffix(DefaultEntry, "}") + `,"defaults":` + defaults + "}")
		if err := CheckEntry(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line", defaults, err)
		}
	}
}

func TestTemporaryFilesOfKilledRunsAreRemovedAndOthersStay(t *testing.T) {
	target := newTarget(t, texts(map[string]string{
		"10-a.conflist": twoPlugins, ".istio-cni-123.tmp": "{", "../bin/.istio-cni-9.tmp": "x",
		".other.tmp": "x", "istio-cni-123.tmp": "x",
	}))
	if got := codes(inspect(t, target)); !slices.Contains(got, "temporary-file") {
		t.Errorf("problems %v", got)
	}
	run(t, target, installing(Insert))
	var names []string
	for name := range files(t, target) {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"bin", "bin/istio-cni", "net.d", "net.d/.other.tmp", "net.d/10-a.conflist", "net.d/istio-cni-123.tmp"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAStandaloneEntryIsAConfigurationOfItsOwn(t *testing.T) {
	target := newTarget(t, nil)
	run(t, target, installing(Standalone))
	if got := loaded(t, target); !slices.Equal(got, []string{pluginType}) {
		t.Errorf("%v", got)
	}
	want := Expectation{Binary: ownProgram, Entry: []byte(DefaultEntry), Method: Standalone}
	if s := Inspect(read(t, target), want); !s.Installed || len(s.Problems) > 0 {
		t.Errorf("%+v", s)
	}
	run(t, target, uninstalling)
	if n := read(t, target); len(n.Confs) > 0 {
		t.Errorf("%v", n.Confs)
	}
}

func TestAListThatChangedAfterItsConversionKeepsTheChange(t *testing.T) {
	target := newTarget(t, texts(map[string]string{"10-a.conf": `{"name":"net","cniVersion":"0.4.0","type":"ptp"}`}))
	run(t, target, installing(Insert))
	path := filepath.Join(target.Dirs.Conf, "10-a.conflist")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"ptp"`, `"ipvlan"`, 1)), 0o640); err != nil {
		t.Fatal(err)
	}
	p := run(t, target, uninstalling)
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "10-a.conf.istio-cni-saved stays") {
		t.Errorf("warnings %v", p.Warnings)
	}
	if got := loaded(t, target); !slices.Equal(got, []string{"ipvlan"}) {
		t.Errorf("%v", got)
	}
}
