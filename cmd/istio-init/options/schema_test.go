package options

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"istio-init/test/golden"
)

// compiledSchema is the schema of the configuration file; compiling it proves that
// it is one.
func compiledSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := asJSON(configSchema())
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSchemaInTheDocumentationIsThatOfTheProgram(t *testing.T) {
	text, err := asJSON(configSchema())
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, "../../../docs/config.schema.json", text)
}

func TestTheSchemaNamesEveryOptionOfAFileAndNoOther(t *testing.T) {
	t.Parallel()
	s := configSchema()
	for _, o := range options {
		p, there := s.Properties[o.key()]
		if there != (o.group != groupInput) {
			t.Errorf("%s: in the schema: %v", o.key(), there)
		}
		if there && p.Description == "" {
			t.Errorf("%s has no description", o.key())
		}
		if there && p.Deprecated != (o.group == groupRemoved) {
			t.Errorf("%s: deprecated: %v", o.key(), p.Deprecated)
		}
	}
}

// The schema takes what the program takes, and refuses only what it refuses; what
// is wrong in a way that it can say, it refuses.
func TestTheSchemaTakesWhatTheProgramTakes(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	for _, o := range fileOptions() {
		t.Run(o.key(), func(t *testing.T) {
			t.Parallel()
			cases := o.cases(t)
			right, wrong := slices.Clone(cases.yaml), slices.Concat(cases.bad, neverRight)
			for _, text := range cases.texts {
				right = append(right, strconv.Quote(text))
			}
			if !o.form.list {
				wrong = append(wrong, notLists...)
			}
			for _, v := range right {
				checkSchema(t, compiled, o.key()+": "+v, true)
			}
			for _, v := range wrong {
				checkSchema(t, compiled, o.key()+": "+v, false)
			}
		})
	}
}

func TestTheSchemaRefusesWhatItsOwnRulesRefuse(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	for _, text := range []string{
		"envoy-port: 0", "envoy-port: 65536", "envoy-port: true", "envoy-port: [1]", "envoy-port: 80a", "envoy-port: {}", "envoy-port: ~",
		"istio-inbound-ports: ['80,443']", "istio-inbound-ports: '80 443'", "istio-inbound-ports: [[80]]", "istio-inbound-ports: true",
		"istio-service-cidr: 10.0.0.1", "istio-service-cidr: ['*', x]", "istio-inbound-interception-mode: TPROXI", "compat: 1.16",
		"ip-family: both", "dry-run: yes", "dry-run: 2", "dry-run: []", "timeout: 5", "timeout: soon", "log_output_level: loud",
		"proxy-uid: -1", "proxy-uid: 4294967295", "proxy-uid: a b", "log_target: true", "log_target: []", "unknown: 1", "config: x",
		"print-config: text", "[]", "x", "1",
	} {
		if compiled.Validate(schemaValue(t, text)) == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, problems := (input{}).parseWithFile(t, text); len(problems) == 0 {
			t.Errorf("the program takes %q", text)
		}
	}
}

// checkSchema wants the program to take a file or not, and the schema to take it
// when the program does.
func checkSchema(t *testing.T, compiled *jsonschema.Schema, text string, right bool) {
	t.Helper()
	_, problems := input{}.parseWithFile(t, text)
	if right != (len(problems) == 0) {
		t.Errorf("%q: right: %v, and the program says %v", text, right, problems)
	}
	if len(problems) > 0 {
		return
	}
	if err := compiled.Validate(schemaValue(t, text)); err != nil {
		t.Errorf("the program takes %q, the schema does not: %v", text, err)
	}
}

func TestTheSchemaTakesTheExampleOfTheReadme(t *testing.T) {
	t.Parallel()
	compiled := compiledSchema(t)
	text, err := os.ReadFile("../../../testdata/readme/mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(schemaValue(t, string(text))); err != nil {
		t.Error(err)
	}
}

// schemaValue is what a validator sees of a text that is YAML; nil when it is not.
func schemaValue(t testing.TB, text string) any {
	t.Helper()
	document, err := parseConfig([]byte(text))
	if err != nil || document == nil {
		return nil
	}
	return nodeValue(t, document)
}

func nodeValue(t testing.TB, n *yaml.Node) any {
	t.Helper()
	switch {
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = nodeValue(t, n.Content[i+1])
		}
		return m
	case n.Kind == yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, nodeValue(t, c))
		}
		return list
	case n.Tag == "!!null":
		return nil
	case n.Tag == "!!bool":
		return strings.EqualFold(n.Value, "true")
	case (n.Tag == "!!int" || n.Tag == "!!float") && json.Valid([]byte(n.Value)):
		return json.Number(n.Value)
	case n.Tag == "!!int":
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return json.Number(fmt.Sprint(i))
		}
	}
	return n.Value
}
