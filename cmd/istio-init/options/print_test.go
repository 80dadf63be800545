package options

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"istio-init/test/scenario"
	"istio-init/test/size"
)

// printed is what the settings are printed as.
func (s *Parsed) printed(t testing.TB, form printForm) string {
	t.Helper()
	as := *s
	as.print = form
	var b strings.Builder
	if err := as.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkPrinted wants settings that are printed as YAML and as JSON to mean the same
// when that is the configuration file.
func checkPrinted(t *testing.T, compiled *jsonschema.Schema, set *Parsed) {
	t.Helper()
	yaml := set.printed(t, printYAML)
	var document struct {
		Config json.RawMessage
		From   map[string]string
	}
	if err := json.Unmarshal([]byte(set.printed(t, printJSON)), &document); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{yaml, string(document.Config)} {
		again, problems := input{}.parseAs(t, text, set.names)
		if len(problems) > 0 {
			t.Fatalf("%v\nof\n%s", problems, text)
		}
		if diff := cmp.Diff(meaning(set), meaning(again)); diff != "" {
			t.Errorf("read again it means something else (-want +got):\n%s\nof\n%s", diff, text)
		}
		if err := compiled.Validate(schemaValue(t, text)); err != nil {
			t.Errorf("the schema does not take it: %v\n%s", err, text)
		}
	}
	for _, s := range set.effective {
		if from := document.From[s.option.key()]; s.option.group != groupInput && from != s.from.String() {
			t.Errorf("%s is from %q, want %q", s.option.key(), from, s.from)
		}
	}
	for line := range strings.Lines(set.printed(t, printText)) {
		if len(line) > tableWidth+1 {
			t.Errorf("a line is wider than %d columns: %q", tableWidth, line)
		}
	}
	checkLine(t, strings.ReplaceAll(yaml[:min(len(yaml), 4000)], "\n", " "))
}

func TestThePrintedConfigurationOfAScenarioMeansTheSame(t *testing.T) {
	compiled := compiledSchema(t)
	for _, s := range scenario.All(t, testdata) {
		t.Run(s.Name(), func(t *testing.T) {
			checkPrinted(t, compiled, ofScenario(t, s))
		})
	}
}

func TestThePrintedConfigurationOfAnySettingsMeansTheSame(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	tried, cases := 0, size.Of(60, 200, 1000)
	for seed := range uint64(cases) {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the same ones every time
		in := input{}
		for _, o := range fileOptions() {
			cases := o.cases(t)
			if random.IntN(2) == 0 {
				in[o.key()] = cases.texts[random.IntN(len(cases.texts))]
			}
		}
		set, problems := in.parse(t)
		if len(problems) > 0 {
			continue // as TPROXY of Istio 1.0
		}
		tried++
		checkPrinted(t, compiled, set)
		if t.Failed() {
			t.Fatalf("of %v", in)
		}
	}
	if tried < cases/2 {
		t.Errorf("only %d settings were right", tried)
	}
}

func TestLongValuesArePrintedWhole(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	var cidrs []string
	for i := range 10_000 {
		cidrs = append(cidrs, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	set, problems := input{
		"istio-service-cidr": strings.Join(cidrs, ","),
		"log_target":         "/" + strings.Repeat("long/", 800),
		"ENVOY_USER":         "\u540d\u524d # \u2028\u202e'\"\\",
		"log_caller":         strings.Repeat("x", 200) + ",y",
	}.parse(t)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	checkPrinted(t, compiled, set)
	if text := set.printed(t, printText); !strings.Contains(text, "and 9991 more\n") {
		t.Errorf("the table does not shorten a long list:\n%s", text)
	}
}

func TestAValueThatNoFileCanHaveIsNotPrintedAsOne(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"\xff", "a\nb", "\x00"} {
		set, problems := input{"ENVOY_USER": v}.parse(t)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, form := range []printForm{printJSON, printYAML} {
			set.print = form
			var b strings.Builder
			if err := set.Print(&b); err == nil || b.Len() > 0 {
				t.Errorf("%q is printed as %s", v, b.String())
			} else {
				checkLine(t, err.Error())
			}
		}
		for line := range strings.Lines(set.printed(t, printText)) {
			checkLine(t, strings.TrimSuffix(line, "\n"))
		}
	}
}

// FuzzConfigFile reads any text as a configuration file: it has clear errors, or
// means the same when it is printed and read again, and the schema takes it.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{
		"", "---\n", "{}", "# nothing\n", "null", "istio-inbound-ports: '*'\nistio-service-cidr: '*'\nproxy-uid: 1337\n",
		"istio-inbound-ports: [80, 443, 8000-8010]\nistio-service-cidr:\n- 10.0.0.0/8\n- fd00::/8\n",
		"{\"envoy-port\": 15001,\n\t\"redirect-dns\": true, \"compat\": \"1.15\", \"ENVOY_USER\": \"root\"}",
		"compat: 1.0\nistio-inbound-tproxy-mark: 0x100\ntimeout: 5s\nlog_output_level: default:debug\n",
		"vklog: 9\nrestore-format: {a: [b]}\nENABLE_INBOUND_IPV6: ~\n", "a: &a [b]\nenvoy-port: *a\n", "envoy-port: !!int 80\n", "<<: {envoy-port: 1}\n",
		"istio-inbound-port: 80\nISTIO_SERVICE_CIDR: '*'\nb: 80\n? [x]\n: y\n", "envoy-port: 1\nenvoy-port: 2\n", "a: 1\n---\nb: 2\n", "- 1\n", "envoy-port: |\n  80\n  -A OUTPUT -j DROP\n",
		"istio-inbound-ports: \"80\\nCOMMIT\\n*filter\"\n", "proxy-uid: 0177\nproxy-gid: 1_000\n", "log_target: \"\\ud83d\\ude00\"\n", "\ufeffenvoy-port: 1\n", "{\"a\": [[[[", "envoy-port: \"\x00\"\n", "\xff\xfe",
	} {
		f.Add(seed)
	}
	compiled := compiledSchema(f)
	f.Fuzz(func(t *testing.T, text string) {
		set, problems := input{}.parseWithFile(t, text)
		if len(problems) == 0 {
			checkPrinted(t, compiled, set)
			if err := compiled.Validate(schemaValue(t, text)); err != nil {
				t.Errorf("the program takes it, the schema does not: %v", err)
			}
		}
		checkSettings(t, set, problems)
	})
}
