package netconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"istio-init/cmd/istio-init/options"
)

// Capability is the capability by which a container runtime passes the annotations of a pod to a
// plugin: containerd from 1.5.0 on, and CRI-O from 1.29.0 on.
const Capability = "io.kubernetes.cri.pod-annotations"

// Missing says what is done with a pod whose annotations do not arrive.
type Missing uint8

// The zero value fails, since the pod may be one whose traffic has to be captured.
const (
	MissingFails Missing = iota
	MissingSkips
)

// A Conf is an entry of the plugin. The zero Conf is that of an entry without keys, but for its
// timeout.
type Conf struct {
	Version  string // of the CNI specification
	Name     string // of the network
	LogLevel string // "": info

	ExcludeNamespaces []string
	AgentNamespace    string // of Istio's own agent; "": there is none
	Ambient           bool   // the plugin is to serve pods of ambient too

	Capable        bool              // the entry asks for annotations
	HasAnnotations bool              // annotations arrived and can be read, though there may be none
	Annotations    map[string]string // of the pod

	Defaults  []options.Value // in the order of their names
	OnMissing Missing
	Timeout   time.Duration
}

// DefaultTimeout is the timeout of an entry that has none.
const DefaultTimeout = 10 * time.Second

// Parse returns what an entry says, and every wrong value. With an error only the namespaces and
// the annotations of the result may be used.
func Parse(entry []byte) (Conf, []error) {
	r := reader{Conf: Conf{Timeout: DefaultTimeout}}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(entry, &keys); err != nil {
		return r.Conf, []error{fmt.Errorf("network configuration: %w", err)}
	}
	r.read(keys, "", map[string]any{
		"cniVersion": &r.Version, "name": &r.Name,
		"log_level": &r.LogLevel, "exclude_namespaces": &r.ExcludeNamespaces, "pod_namespace": &r.AgentNamespace,
		"ambient_enabled": &r.Ambient,
	})
	r.read(keys, "", map[string]any{"plugin_log_level": &r.LogLevel}) // wins over that of older releases
	var capabilities, runtimeConfig, kubernetes map[string]json.RawMessage
	r.read(keys, "", map[string]any{"capabilities": &capabilities, "runtimeConfig": &runtimeConfig, "kubernetes": &kubernetes})
	r.read(capabilities, "capabilities.", map[string]any{Capability: &r.Capable})
	before := len(r.problems)
	r.read(runtimeConfig, "runtimeConfig.", map[string]any{Capability: &r.Annotations})
	_, arrived := runtimeConfig[Capability]
	r.HasAnnotations = arrived && len(r.problems) == before
	var older []string
	r.read(kubernetes, "kubernetes.", map[string]any{"exclude_namespaces": &older})
	r.ExcludeNamespaces = append(r.ExcludeNamespaces, older...)
	r.readDefaults(keys["defaults"])
	r.readNative(keys)
	r.readWords(keys)
	if arrived && !r.HasAnnotations {
		r.OnMissing = MissingFails // they may be those of a pod that is to be captured
	}
	return r.Conf, r.problems
}

// A reader reads an entry and collects what is wrong with it.
type reader struct {
	Conf
	problems []error
}

// wrong adds the error of a value: it names the key, and what is accepted.
func (r *reader) wrong(key string, value json.RawMessage, want string) {
	r.problems = append(r.problems, fmt.Errorf("network configuration: %s %s: want %s", key, shown(value), want))
}

// shown returns a value for a message.
func shown(value json.RawMessage) string {
	const most = 60
	var line bytes.Buffer
	if json.Compact(&line, value) != nil || line.Len() > most {
		return strconv.Quote(string(value[:min(len(value), most)])) + "..."
	}
	return line.String()
}

// formOf returns what a key accepts, by the type of its target.
func formOf(target any) string {
	switch target.(type) {
	case *bool:
		return "true or false"
	case *[]string:
		return "a list of strings"
	case *string:
		return "a string"
	case *map[string]string:
		return "an object of strings"
	}
	return "an object"
}

// read reads keys into their targets. null is as if the key were not there.
func (r *reader) read(keys map[string]json.RawMessage, prefix string, targets map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(targets)) {
		value, there := keys[key]
		if !there {
			continue
		}
		if err := json.Unmarshal(value, targets[key]); err != nil {
			r.wrong(prefix+key, value, formOf(targets[key]))
		}
	}
}

// readWords reads the keys whose values are words.
func (r *reader) readWords(keys map[string]json.RawMessage) {
	const missingKey, timeoutKey = "on_missing_annotations", "timeout"
	var missing, timeout string
	r.read(keys, "", map[string]any{missingKey: &missing, timeoutKey: &timeout})
	switch missing {
	case "", "fail":
	case "skip":
		r.OnMissing = MissingSkips
	default:
		r.wrong(missingKey, keys[missingKey], "fail or skip")
	}
	if timeout == "" {
		return
	}
	d, err := time.ParseDuration(timeout)
	if err != nil || d <= 0 {
		r.wrong(timeoutKey, keys[timeoutKey], "a duration above zero such as 10s")
		return
	}
	r.Timeout = d
}

// readDefaults reads the options where a pod does not say otherwise.
func (r *reader) readDefaults(object json.RawMessage) {
	if len(object) == 0 {
		return
	}
	var defaults map[string]json.RawMessage
	if err := json.Unmarshal(object, &defaults); err != nil {
		r.wrong("defaults", object, "an object")
		return
	}
	spelled := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		value, key := defaults[name], "defaults."+name
		option, known := options.RuleOption(name)
		text, err := optionText(value)
		first, twice := spelled[option]
		switch {
		case !known:
			r.problems = append(r.problems, fmt.Errorf("network configuration: %.80q: not an option that describes rules: want %s", key, strings.Join(options.RuleOptions(), ", ")))
		case twice:
			r.problems = append(r.problems, fmt.Errorf("network configuration: %s is the same option as %s: want one of them", key, first))
		case err != nil:
			r.wrong(key, value, "a string, a number, true or false, or a list of these")
		default:
			spelled[option] = key
			r.Defaults = append(r.Defaults, options.Value{Option: option, Text: text, From: "network configuration: " + key})
		}
	}
}

// readNative reads Istio's key for what is an option here. It wins over defaults.
func (r *reader) readNative(keys map[string]json.RawMessage) {
	const key = "native_nftables"
	var native bool
	r.read(keys, "", map[string]any{key: &native})
	if native {
		r.Defaults = append(slices.DeleteFunc(r.Defaults, func(v options.Value) bool { return v.Option == options.NativeNFT }),
			options.Value{Option: options.NativeNFT, Text: "true", From: "network configuration: " + key})
	}
}

// optionText returns a value as a flag would have it: a list is joined by commas.
func optionText(value json.RawMessage) (string, error) {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil || list == nil {
		list = []json.RawMessage{value}
	}
	var texts []string
	for _, element := range list {
		decoder := json.NewDecoder(bytes.NewReader(element))
		decoder.UseNumber()
		var scalar any
		if err := decoder.Decode(&scalar); err != nil {
			return "", err
		}
		switch scalar.(type) {
		case string, bool, json.Number:
			texts = append(texts, fmt.Sprint(scalar))
		default:
			return "", fmt.Errorf("%T", scalar)
		}
	}
	return strings.Join(texts, ","), nil
}
