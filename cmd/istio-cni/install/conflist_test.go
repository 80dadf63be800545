package install

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/google/go-cmp/cmp"
)

var entryText = []byte(`{"type":"istio-cni","capabilities":{"io.kubernetes.cri.pod-annotations":true},"big":12345678901234567890}`)

// mainConfigs are configurations as the usual main plugins write them.
func mainConfigs(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/conf/*")
	if err != nil || len(paths) < 6 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	texts := map[string][]byte{}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(p)] = text
	}
	return texts
}

func mustParse(t testing.TB, text []byte) *list {
	t.Helper()
	l, err := parseList(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return &l
}

// kinds returns the types of the plugins as libcni reads them.
func kinds(t testing.TB, text []byte) []string {
	t.Helper()
	l, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		t.Fatalf("libcni: %v in\n%s", err, text)
	}
	var types []string
	for _, p := range l.Plugins {
		types = append(types, p.Network.Type)
	}
	return types
}

func TestAnEntryIsTheLastPluginAndItsRemovalRestoresEveryByte(t *testing.T) {
	for name, text := range mainConfigs(t) {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(name, ".conf") {
				var err error
				if text, err = convert(text); err != nil {
					t.Fatal(err)
				}
			}
			before := kinds(t, text)
			l := mustParse(t, text)
			with := l.set(entryText)
			if d := cmp.Diff(append(before, pluginType), kinds(t, with)); d != "" {
				t.Errorf("(-want +got)\n%s\n%s", d, with)
			}
			if !bytes.Contains(with, []byte("12345678901234567890")) {
				t.Errorf("the number changed:\n%s", with)
			}
			if again := mustParse(t, with).set(entryText); !bytes.Equal(again, with) {
				t.Errorf("the second time is another text:\n%s", again)
			}
			if d := cmp.Diff(string(text), string(mustParse(t, with).strip())); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestTheEntryIsWrittenInTheStyleOfItsNeighbour(t *testing.T) {
	l := mustParse(t, []byte("{\"name\": \"n\", \"plugins\": [\n\t\t{\n\t\t\t\"type\": \"a\"\n\t\t}\n\t]}"))
	want := "{\"name\": \"n\", \"plugins\": [\n\t\t{\n\t\t\t\"type\": \"a\"\n\t\t},\n\t\t{\n\t\t\t\"type\": \"istio-cni\"\n\t\t}\n\t]}"
	if d := cmp.Diff(want, string(l.set([]byte(`{"type":"istio-cni"}`)))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestOldEntriesAreReplacedWhereTheyAre(t *testing.T) {
	const entry = `{"type":"istio-cni","new":1}`
	cases := []struct{ name, plugins, set, strip string }{
		{"last", `{"type":"a"}, {"type":"istio-cni"}`, `{"type":"a"}, E`, `{"type":"a"}`},
		{"before-another", `{"type":"istio-cni"} , {"type":"a"}`, `E , {"type":"a"}`, `{"type":"a"}`},
		{"twice", `{"type":"istio-cni"},{"type":"a"},{"type":"istio-cni","x":[]}`, `{"type":"a"},E`, `{"type":"a"}`},
		{"twice-first", `{"type":"istio-cni"},{"type":"istio-cni"}, {"type":"a"}`, `E, {"type":"a"}`, `{"type":"a"}`},
		{"equal", `{"type":"a"},{ "type":"istio-cni", "new":1 }`, `{"type":"a"},{ "type":"istio-cni", "new":1 }`, `{"type":"a"}`},
		{"other-case", `{"type":"a"},{"TYPE":"istio-cni"}`, `{"type":"a"},E`, `{"type":"a"}`},
		{"alone", `{"type":"istio-cni"}`, `E`, ``},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			whole := func(plugins string) string {
				if plugins == "" {
					return ""
				}
				return `{"name":"n","plugins":[ ` + strings.ReplaceAll(plugins, "E", entry) + ` ],"z":1}`
			}
			l := mustParse(t, []byte(strings.ReplaceAll(whole(c.plugins), entry, "E")))
			if d := cmp.Diff(whole(c.set), string(l.set([]byte(entry)))); d != "" {
				t.Errorf("set (-want +got)\n%s", d)
			}
			if d := cmp.Diff(whole(c.strip), string(l.strip())); d != "" {
				t.Errorf("strip (-want +got)\n%s", d)
			}
		})
	}
}

func TestAConfigurationOfOnePluginBecomesTheListThatRuntimesMakeOfIt(t *testing.T) {
	text := []byte(` {"type":"bridge","name":"net", "mtu": 1500.0, "cniVersion":"0.4.0"} `)
	got, err := convert(text)
	if err != nil {
		t.Fatal(err)
	}
	single, err := libcni.ConfFromBytes(text) //nolint:staticcheck // runtimes call it
	if err != nil {
		t.Fatal(err)
	}
	want, err := libcni.ConfListFromConf(single) //nolint:staticcheck // runtimes call it
	if err != nil {
		t.Fatal(err)
	}
	have, err := libcni.NetworkConfFromBytes(got)
	if err != nil {
		t.Fatal(err)
	}
	want.Bytes, have.Bytes = nil, nil
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if !bytes.Contains(got, []byte("1500.0")) {
		t.Errorf("the number changed:\n%s", got)
	}
}

// FuzzConflist: what is a list for libcni is one for us, and the other way round. An edit
// leaves a list with the same other plugins, and its undoing restores every byte.
func FuzzConflist(f *testing.F) {
	for _, text := range mainConfigs(f) {
		f.Add(text)
	}
	f.Add([]byte(`{"name":"n","plugins":[{"type":"istio-cni"},{"type":"a"} ,{"type":"istio-cni"}],"plugins":[{"type":"b"}]}`))
	f.Add([]byte(`{"name":"n","plugins":null}`))
	f.Add([]byte("{\"name\":\"n\",\"plugins\":[{\n\"type\":\"a\"\n}\n]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		theirs, theirErr := libcni.NetworkConfFromBytes(text)
		l, err := parseList(text)
		if err != nil || theirErr != nil {
			if err == nil && strings.Contains(theirErr.Error(), "type") && len(l.plugins) > 0 {
				t.Errorf("libcni: %v", theirErr)
			}
			return
		}
		if l.name != theirs.Name || len(l.plugins) != len(theirs.Plugins) {
			t.Errorf("name %q, %d plugins; libcni: %q, %d", l.name, len(l.plugins), theirs.Name, len(theirs.Plugins))
		}
		if len(l.plugins) == 0 {
			return
		}
		checkEdit(t, &l)
	})
}

func checkEdit(t *testing.T, l *list) {
	t.Helper()
	others := func(text []byte) []string {
		m := mustParse(t, text)
		var o []string
		for _, p := range m.plugins {
			if !json.Valid(m.text[p.start:p.end]) {
				t.Errorf("plugin %q", m.text[p.start:p.end])
			}
			if p.kind != pluginType {
				o = append(o, string(m.text[p.start:p.end]))
			}
		}
		return o
	}
	with := l.set(entryText)
	if n := mustParse(t, with).ours(); len(n) != 1 {
		t.Errorf("%d entries in\n%s", len(n), with)
	}
	if d := cmp.Diff(others(l.text), others(with)); d != "" {
		t.Errorf("other plugins (-want +got)\n%s", d)
	}
	if again := mustParse(t, with).set(entryText); !bytes.Equal(again, with) {
		t.Errorf("the second time is another text:\n%s", again)
	}
	kinds(t, with)
	if !l.onlyOurs() && len(l.ours()) == 0 {
		if got := mustParse(t, with).strip(); !bytes.Equal(got, l.text) {
			t.Errorf("not restored: %q, want %q", got, l.text)
		}
	}
}
