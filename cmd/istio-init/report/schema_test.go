package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/capture/picture"
	"istio-init/capture/pod"
	"istio-init/netutil/inet"
	"istio-init/test/golden"
)

// schemaFiles are the schemas of docs/schemas with their documents, by kind.
var schemaFiles = []struct {
	name, title string
	documents   map[string]any
}{
	{"apply", "istio-init apply --output json", map[string]any{"apply": Change{}}},
	{"clean", "istio-init clean --output json", map[string]any{"clean": Change{}}},
	{"check", "istio-init check --output json: the kind is drift with flags that describe rules, namespaces with --all-namespaces, else state", map[string]any{"state": State{}, "drift": Drift{}, "namespaces": Namespaces{}}},
	{"trace", "istio-init trace --output json", map[string]any{"path": pathJSON{}}},
	{"explain", "istio-init explain --output json", map[string]any{"rules": picture.Document{}}},
	{"version", "istio-init version --output json", map[string]any{"version": Version{}}},
	{"error", "what any command with --output json prints if it fails", map[string]any{"error": Failure{}}},
}

// enums are the values of types that have a few.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[capture.Mode]():       names[capture.Mode](),
	reflect.TypeFor[capture.Generation](): names[capture.Generation](),
	reflect.TypeFor[inet.Family]():        {"ipv4", "ipv6"},
	reflect.TypeFor[path.Outcome]():       names[path.Outcome](),
	reflect.TypeFor[path.Cause]():         names[path.Cause](),
	reflect.TypeFor[pod.Name]():           stringsOf(pod.NFT, pod.Legacy, pod.NFTables),
	reflect.TypeFor[mesh]():               append(stringsOf(meshes[:]...), string(ours)),
	reflect.TypeFor[lineOp]():             stringsOf(opSame, opMissing, opUnexpected),
	reflect.TypeFor[way]():                stringsOf(wayInbound, wayOutbound, wayDNS),
	reflect.TypeFor[rulesFrom]():          stringsOf(fromLive, fromPlanned, fromDump),
	reflect.TypeFor[result]():             stringsOf(resultCaptured, resultNotCaptured, resultBroken, resultAmbient, resultForeign, resultUnknown),
	reflect.TypeFor[stepKind]():           stringsOf(changeRules, removeRules, addRouting, removeRouting, addAddress, removeAddress, removeNative),
	reflect.TypeFor[DifferenceKind]():     stringsOf(PolicyRuleMissing, PolicyRuleStale, PolicyRuleDuplicated, RouteMissing, RouteStale, AddressMissing, AddressStale, OtherBackend, NativeTables),
	reflect.TypeFor[ValueFrom]():          {"flag", "environment", "file", "derived", "default"},
	reflect.TypeFor[errorCode]():          stringsOf(codeUsage, codeInvalidInput, codePermission, codeNoBackend, codeAmbient, codeHostNetwork, codeContended, codeTimeout, codeInterrupted, codeValidation, codeFailed),
	reflect.TypeFor[picture.TargetKind](): {"jump", "goto", "return", "accept", "drop", "redirect", "tproxy", "set_mark", "save_mark", "restore_mark", "zone", "other", "none"},
}

// names returns the names of an enumeration that has one for each of its values: String
// panics behind the last.
func names[T interface {
	~uint8
	fmt.Stringer
}]() (all []string) {
	defer func() { _ = recover() }()
	for v := T(0); ; v++ {
		all = append(all, v.String())
	}
}

func stringsOf[T ~string](values ...T) (all []string) {
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

// schemaOf returns the schema of a document.
func schemaOf(t *testing.T, kind string, document any) *jsonschema.Schema {
	t.Helper()
	known := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[netip.Addr]():   {Type: "string"},
		reflect.TypeFor[netip.Prefix](): {Type: "string"},
	}
	for typ, values := range enums {
		s := &jsonschema.Schema{Type: "string"}
		for _, v := range values {
			s.Enum = append(s.Enum, v)
		}
		known[typ] = s
	}
	s, err := jsonschema.ForType(reflect.TypeOf(document), &jsonschema.ForOptions{TypeSchemas: known})
	if err != nil {
		t.Fatal(err)
	}
	adapt(s)
	var one any = schemaNumber
	s.Properties["schema"].Const = &one
	var is any = kind
	s.Properties["kind"].Const = &is
	return s
}

// adapt marks deprecated keys, allows keys of later releases, and disallows null.
func adapt(s *jsonschema.Schema) {
	s.Deprecated = strings.HasPrefix(s.Description, "deprecated")
	s.AdditionalProperties = nil
	if len(s.Types) > 0 {
		s.Types = slices.DeleteFunc(s.Types, func(name string) bool { return name == "null" })
		s.Type, s.Types = s.Types[0], nil
	}
	for _, p := range s.Properties {
		adapt(p)
	}
	if s.Items != nil {
		adapt(s.Items)
	}
}

func TestTheSchemasOfTheDocumentationAreThoseOfTheTypes(t *testing.T) {
	for _, file := range schemaFiles {
		t.Run(file.name, func(t *testing.T) {
			s := &jsonschema.Schema{}
			for kind, document := range file.documents {
				s.AnyOf = append(s.AnyOf, schemaOf(t, kind, document))
			}
			slices.SortFunc(s.AnyOf, func(a, b *jsonschema.Schema) int {
				return strings.Compare(fmt.Sprint(*a.Properties["kind"].Const), fmt.Sprint(*b.Properties["kind"].Const))
			})
			if len(s.AnyOf) == 1 {
				s = s.AnyOf[0]
			}
			s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", file.title
			var text bytes.Buffer
			e := json.NewEncoder(&text)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(s); err != nil {
				t.Fatal(err)
			}
			golden.File(t, "../../../docs/schemas/"+file.name+".schema.json", text.String())
		})
	}
}

// earlierKeys are the keys of documents before they had a schema; one with "deprecated" has
// another in its place.
var earlierKeys = map[string][]string{
	"state": {
		"rules deprecated", "variant deprecated", "captures", "ambient", "meshes deprecated", "families", "generation deprecated", "exact",
		"arguments", "variables", "facts deprecated", "problems", "warnings", "doubts", "notes", "facts.label", "facts.text",
	},
	"drift": {
		"in_order", "variant deprecated", "dump deprecated", "families", "besides deprecated", "problems", "warnings", "doubts", "notes",
		"families.family", "families.wanted", "families.lines", "families.lines.op", "families.lines.table", "families.lines.chain",
		"families.lines.rule", "families.lines.reason",
	},
	"path": {
		"rules deprecated", "variant deprecated", "family", "warnings", "certain", "notes", "doubts", "legs",
		"legs.who", "legs.uid", "legs.gid", "legs.protocol", "legs.from deprecated", "legs.to deprecated", "legs.in", "legs.out", "legs.mark", "legs.state",
		"legs.landing", "legs.port", "legs.redirected_to deprecated", "legs.captured", "legs.loop", "legs.outcome deprecated", "legs.reason",
		"legs.stages", "legs.behind", "legs.stages.hook", "legs.stages.verdict", "legs.stages.steps", "legs.stages.steps.table", "legs.stages.steps.chain",
		"legs.stages.steps.number", "legs.stages.steps.rule", "legs.stages.steps.reason", "legs.stages.steps.decides", "legs.stages.steps.unknown",
	},
}

func TestEarlierKeysStay(t *testing.T) {
	t.Parallel()
	for _, file := range schemaFiles {
		for kind, document := range file.documents {
			s := schemaOf(t, kind, document)
			for _, key := range earlierKeys[kind] {
				name, deprecated := strings.CutSuffix(key, " deprecated")
				at := s
				for part := range strings.SplitSeq(name, ".") {
					if at.Items != nil {
						at = at.Items
					}
					if at = at.Properties[part]; at == nil {
						t.Fatalf("%s: the key %s is gone", kind, name)
					}
				}
				if at.Deprecated != deprecated {
					t.Errorf("%s: %s is deprecated: %v, want %v", kind, name, at.Deprecated, deprecated)
				}
			}
		}
	}
}
