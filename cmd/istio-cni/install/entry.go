package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"istio-init/cmd/istio-cni/decision"
	"istio-init/cmd/istio-cni/netconf"
)

// AnnotationsNeed says what has to be there for annotations to reach the plugin.
const AnnotationsNeed = `annotations of pods reach the plugin from containerd ` + containerdNeed + ` and CRI-O ` + crioNeed + ` on, ` +
	`and only with this line in its entry: "capabilities": {"` + netconf.Capability + `": true}`

// DefaultEntry is the entry that is installed where none is given.
const DefaultEntry = `{
  "type": "` + pluginType + `",
  "exclude_namespaces": ["istio-system", "kube-system"],
  "capabilities": {"` + netconf.Capability + `": true}
}`

// CheckEntry returns what is wrong with an entry that is to be installed.
func CheckEntry(text []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return errors.New("want a JSON object")
	}
	kind, err := kindOf(text)
	if err != nil {
		return err
	}
	conf, _ := netconf.Parse(text)
	errs := wrongValues(text)
	if kind != pluginType {
		errs = append(errs, fmt.Errorf("key type: %q: want %q", kind, pluginType))
	}
	if !conf.Capable {
		errs = append(errs, errors.New(AnnotationsNeed))
	}
	if conf.Ambient {
		errs = append(errs, decision.ErrAmbient)
	}
	return errors.Join(errs...)
}

// wrongValues returns what would keep the pods that are captured from starting, but for
// ambient_enabled.
func wrongValues(entry []byte) []error {
	conf, errs := netconf.Parse(entry)
	conf.Ambient = false
	return decision.ForAnyPod(conf, errs).Errors
}

// standalone returns an entry as a configuration of its own, for runtimes and Multus that
// name a network and call one plugin. 0.3.1 is the version that Istio writes.
func standalone(text []byte) []byte {
	var top map[string]json.RawMessage
	_ = json.Unmarshal(text, &top) // it is an object
	var head strings.Builder
	for _, k := range [][2]string{{"cniVersion", "0.3.1"}, {"name", pluginType}} {
		if _, ok := top[k[0]]; !ok {
			fmt.Fprintf(&head, "%q: %q, ", k[0], k[1])
		}
	}
	text = bytes.TrimSpace(text)
	return indented(splice(text, 1, 1, head.String()))
}

// indented returns valid JSON as a text of a file.
func indented(text []byte) []byte {
	var b bytes.Buffer
	_ = json.Indent(&b, bytes.TrimSpace(text), "", "  ")
	b.WriteString("\n")
	return b.Bytes()
}
