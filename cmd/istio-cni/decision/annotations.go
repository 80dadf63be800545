package decision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The annotations of Istio that are read besides those of options.
const (
	statusKey    = "sidecar.istio.io/status"
	configKey    = "proxy.istio.io/config"
	overridesKey = "proxy.istio.io/overrides"
	networksKey  = "k8s.v1.cni.cncf.io/networks" // of Multus
)

// proxyName is the name of the proxy's container, and attachment that of the plugin's network.
const (
	proxyName  = "istio-proxy"
	attachment = "istio-cni"
)

// The bounds of a value. All annotations of a pod have at most 256 KB.
const (
	mostBytes   = 64 << 10
	mostEntries = 10_000
)

// A reader reads annotations and collects what is wrong with them.
type reader struct {
	annotations map[string]string
	problems    []error

	own  container         // the pod's own istio-proxy; zero: it has none
	vars map[string]string // proxyMetadata of the pod
}

// annotation returns a value, and whether it is there.
func (r *reader) annotation(key string) (value string, there bool) {
	value, there = r.annotations[key]
	switch entries := strings.Count(value, ",") + 1; {
	case len(value) > mostBytes:
		r.wrong(key, "has %d bytes: want at most %d", len(value), mostBytes)
		return "", there
	case entries > mostEntries:
		r.wrong(key, "has %d entries: want at most %d", entries, mostEntries)
		return "", there
	}
	return value, there
}

// wrong adds a problem, once.
func (r *reader) wrong(key, format string, args ...any) {
	err := fmt.Errorf("%s "+format, append([]any{from(key)}, args...)...)
	if !slices.ContainsFunc(r.problems, func(e error) bool { return e.Error() == err.Error() }) {
		r.problems = append(r.problems, err)
	}
}

// from is how messages name an annotation.
func from(key string) string { return "annotation " + key }

// injected returns the containers that the injector has added.
func (r *reader) injected(status string) []string {
	var s *struct{ InitContainers, Containers []string }
	if err := json.Unmarshal([]byte(status), &s); err != nil || s == nil {
		r.wrong(statusKey, "%.60q: want the JSON object that Istio's injector writes; remove the annotation where it was set by hand", status)
		return nil
	}
	return append(s.InitContainers, s.Containers...)
}

// A container is what the injector keeps of a container that the pod brought along.
type container struct {
	Name            string
	Args            []string
	Env             []struct{ Name, Value string }
	SecurityContext struct{ RunAsUser, RunAsGroup *json.Number }
}

// readProxy reads what is known of the proxy's container and of its variables.
func (r *reader) readProxy() {
	if text, there := r.annotation(overridesKey); there && text != "" {
		var o struct{ Containers, InitContainers []container }
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			r.wrong(overridesKey, "%.60q: want the JSON object that Istio's injector writes", text)
		}
		all := append(o.InitContainers, o.Containers...)
		if i := slices.IndexFunc(all, func(c container) bool { return c.Name == proxyName }); i >= 0 {
			r.own = all[i]
		}
	}
	if text, there := r.annotation(configKey); there {
		vars, err := metadata(text)
		if err != nil {
			r.wrong(configKey, "%w: want YAML of a ProxyConfig", err)
		}
		r.vars = vars
	}
}

// variable returns a variable of the proxy and where it is set. One whose value is taken from
// elsewhere is empty.
func (r *reader) variable(name string) (value, source string) {
	for _, v := range slices.Backward(r.own.Env) { // the last one counts
		if v.Name == name {
			return v.Value, from(overridesKey) + " " + name
		}
	}
	if value, there := r.vars[name]; there {
		return value, from(configKey) + " " + name
	}
	return "", ""
}

// disabled reports whether the proxy does not run. Istio's plugin ignores another value.
func (r *reader) disabled() bool {
	value, _ := r.variable("DISABLE_ENVOY")
	on, err := strconv.ParseBool(value)
	return on && err == nil
}

// role returns the role of the proxy where it is not that of a sidecar.
func (r *reader) role() string {
	args := r.own.Args
	if len(args) < 2 || args[0] != "proxy" || args[1] == "sidecar" {
		return ""
	}
	return args[1]
}

// metadata returns proxyMetadata of a ProxyConfig in YAML or JSON, of its first document. Of a key
// that is there twice the last one counts.
func metadata(text string) (map[string]string, error) {
	var document yaml.Node
	switch err := yaml.NewDecoder(strings.NewReader(text)).Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, errors.New(strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "yaml: ")), " "))
	}
	vars := map[string]string{}
	err := eachKey(document.Content[0], func(key string, value *yaml.Node) error {
		if key != "proxyMetadata" && key != "proxy_metadata" {
			return nil
		}
		return eachKey(value, func(name string, value *yaml.Node) error {
			if value.Kind != yaml.ScalarNode {
				return fmt.Errorf("%.60q is no string", name)
			}
			vars[name] = value.Value
			return nil
		})
	})
	return vars, err
}

// eachKey calls fn for the keys of a mapping. Nothing is expanded, so that a small text stays
// small: aliases are followed once, and merged mappings are refused.
func eachKey(n *yaml.Node, fn func(key string, value *yaml.Node) error) error {
	n = target(n)
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil
	case n.Kind != yaml.MappingNode:
		return fmt.Errorf("line %d: no mapping", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := target(n.Content[i])
		if key.Tag == "!!merge" {
			return fmt.Errorf("line %d: merged mappings are not supported", key.Line)
		}
		if err := fn(key.Value, target(n.Content[i+1])); err != nil {
			return err
		}
	}
	return nil
}

// target returns what an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
