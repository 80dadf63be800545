package options

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"istio-init/capture"
)

// parseWithFile reads an input and the text of a configuration file as the command
// apply does.
func (in input) parseWithFile(t *testing.T, text string) (*Parsed, []error) {
	t.Helper()
	return in.parseAs(t, text, someNames)
}

func (in input) parseAs(t *testing.T, text string, names nameLookup) (*Parsed, []error) {
	t.Helper()
	flags, env := in.given(t)
	if err := flags.Set("config", standardInput); err != nil {
		t.Fatal(err)
	}
	inFile := readConfig(t.Context(), flags.values, env, strings.NewReader(text))
	set, problems := parseSettings(flags.values, env, names, allOptions)
	return set, append(inFile, problems...)
}

func TestAFlagWinsOverTheEnvironmentThatOverTheFileThatOverTheDefault(t *testing.T) {
	t.Parallel()
	for _, o := range fileOptions() {
		t.Run(o.key(), func(t *testing.T) {
			t.Parallel()
			cases := o.cases(t)
			flag, env, file := cases.texts[0], cases.texts[1], cases.texts[2]
			inFile := o.key() + ": " + strconv.Quote(file)
			checkWins(t, o, input{}, "", o.def, origin{})
			checkWins(t, o, input{}, inFile, file, origin{byFile, "stdin line 1"})
			for _, name := range o.env {
				checkWins(t, o, input{name: env}, "", env, origin{byEnv, name})
				checkWins(t, o, input{name: env}, inFile, env, origin{byEnv, name})
				checkWins(t, o, input{name: ""}, inFile, file, origin{byFile, "stdin line 1"})
			}
			if o.long == "" {
				return
			}
			set := input{o.long: flag}
			checkWins(t, o, set, "", flag, origin{byFlag, "--" + o.long})
			checkWins(t, o, set, inFile, flag, origin{byFlag, "--" + o.long})
			for _, name := range o.env {
				set[name] = env
			}
			checkWins(t, o, set, inFile, flag, origin{byFlag, "--" + o.long})
		})
	}
}

// checkWins wants an option to have a value, in name and in effect.
func checkWins(t *testing.T, o *option, in input, file, text string, from origin) {
	t.Helper()
	got, problems := in.parseWithFile(t, file)
	if len(problems) > 0 {
		t.Fatalf("%v and %q in the file: %v", in, file, problems)
	}
	won := got.of(o.key())
	right := won.from == from && won.text == text
	if from.kind == byDefault { // which may be what follows from other options
		right = won.from.kind == byDefault || won.from.kind == derived
	}
	if !right {
		t.Errorf("%v and %q in the file: it is %q by %v, want %q by %v", in, file, won.text, won.from, text, from)
	}
	alone := input{}
	if from.kind != byDefault {
		alone[o.key()] = text
	}
	want, _ := alone.parse(t)
	if diff := cmp.Diff(meaning(want), meaning(got)); diff != "" {
		t.Errorf("%v and %q in the file are not what %v is (-want +got):\n%s", in, file, alone, diff)
	}
}

// meaning is what settings say, without where it was said.
func meaning(s *Parsed) string {
	var b strings.Builder
	for _, set := range s.effective {
		if set.option.group != groupInput {
			fmt.Fprintf(&b, "%s=%s\n", set.option.key(), set.plain())
		}
	}
	rest := *s
	rest.Config, rest.effective, rest.Warnings, rest.names = capture.Config{}, nil, nil, nil
	rest.RulesGiven = false
	rest.configFile, rest.print, rest.Force = "", printNothing, nil
	fmt.Fprintf(&b, "%+v\n%+v\n", s.Config, rest)
	if s.Force != nil {
		fmt.Fprintf(&b, "force %s\n", s.Force)
	}
	return b.String()
}

func TestAFileOfTenThousandCIDRsIsTaken(t *testing.T) {
	t.Parallel()
	var yaml, flag strings.Builder
	yaml.WriteString("istio-service-cidr:\n")
	for i := range 10_000 {
		cidr := fmt.Sprintf("2001:db8:%x:%x::/64", i/256, i%256)
		fmt.Fprintf(&yaml, "    - %q # number %d\n", cidr, i)
		flag.WriteString(cidr + ",")
	}
	want, _ := input{"istio-service-cidr": flag.String()}.parse(t)
	got, problems := input{}.parseWithFile(t, yaml.String())
	if len(problems) > 0 || len(got.Config.OutboundPrefixes.Only) != 10_000 {
		t.Fatalf("%d CIDRs, %v", len(got.Config.OutboundPrefixes.Only), problems)
	}
	if meaning(want) != meaning(got) {
		t.Error("the file means something else than the flag")
	}
}

func TestAnInterruptEndsTheWaitForAFile(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never, writer := io.Pipe()
	defer writer.Close()
	if _, err := readFile(ctx, standardInput, never); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ends with %v", err)
	}
}

func TestAFileIsNamedSoThatItCanBeRead(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"-":             "stdin",
		"mesh.yaml":     "mesh.yaml",
		"a b":           `"a b"`,
		"./-":           "./-",
		"\xff":          `"\xff"`,
		"\u202emesh":    `"\u202emesh"`,
		`a"b`:           `"a\"b"`,
		"/dev/fd/63":    "/dev/fd/63",
		"../mesh #1.ya": `"../mesh #1.ya"`,
	} {
		if got := placeName(path); got != want {
			t.Errorf("%q is named %s, want %s", path, got, want)
		}
	}
	if got := placeName(strings.Repeat("/long", 100) + "/mesh.yaml"); len(got) > 70 || !strings.HasSuffix(got, "/mesh.yaml") {
		t.Errorf("a long path is named %s", got)
	}
}

func TestAFileWithAnyNameIsRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a # b: \xff.yaml")
	if err := os.WriteFile(path, []byte("envoy-port: 80a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags, env := input{"config": path}.given(t)
	if problems := readConfig(t.Context(), flags.values, env, nil); len(problems) > 0 {
		t.Fatal(problems)
	}
	_, problems := parseSettings(flags.values, env, someNames, allOptions)
	if len(problems) != 1 || !strings.Contains(problems[0].Error(), ` line 1): "80a": want a port`) {
		t.Error(problems)
	}
}

func TestADefaultIsFitForAFile(t *testing.T) {
	t.Parallel()
	for _, o := range fileOptions() {
		if _, err := (setting{option: o, text: o.def}).value(); err != nil {
			t.Error(err)
		}
	}
}

func TestJSONIsReadWithItsLines(t *testing.T) {
	t.Parallel()
	text := "{\n\t\"envoy-port\"\t:\n\n 80,\r\n\t\n\"log_target\": \"\\u002fa\\u00e9\", \"istio-inbound-ports\":\n[ 1,\n\"2\" ]\n}\n"
	set, problems := input{}.parseWithFile(t, text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for key, want := range map[string]string{
		"envoy-port": "80 by stdin line 2", "log_target": "/aé by stdin line 6", "istio-inbound-ports": "1,2 by stdin line 6",
	} {
		if got := set.of(key); got.text+" by "+got.from.String() != want {
			t.Errorf("%s is %s by %s, want %s", key, got.text, got.from, want)
		}
	}
}

// given are flags and environment of an input.
func (in input) given(t *testing.T) (commandFlags, Env) {
	t.Helper()
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags := commandFlags{set, defineFlags(set, options, allOptions)}
	for name, value := range in {
		if set.Lookup(name) != nil {
			if err := set.Set(name, value); err != nil {
				t.Fatalf("--%s: %v", name, err) // it takes all, and is parsed later
			}
		}
	}
	return flags, func(name string) (string, bool) { v, ok := in[name]; return v, ok }
}

// commandFlags are the flags of a command, and what they say.
type commandFlags struct {
	*pflag.FlagSet
	values []*flagValue
}
