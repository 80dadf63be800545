package decision

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"istio-init/cmd/istio-cni/netconf"
	"istio-init/cmd/istio-init/options"
)

// A Verdict is what is done with a pod.
type Verdict uint8

// The zero verdict fails.
const (
	Fail Verdict = iota
	Skip
	Apply
)

// String returns the verdict as the log has it.
func (v Verdict) String() string { return [...]string{"fail", "skip", "apply"}[v] }

// A Pod is a pod as its runtime names it. Both names are empty where it does not.
type Pod struct{ Namespace, Name string }

// A Decision is what is done with a pod, and why.
type Decision struct {
	Verdict Verdict
	Reason  string
	Suspect bool // a pod is skipped though annotations ask for its capture, or it has a hint that is none

	Options *options.Parsed // with Apply
	Values  []options.Value // that the options were parsed from, with their sources
	Errors  []error         // with Fail: all that is wrong
}

// ErrMissing says that no annotations arrived.
var ErrMissing = errors.New("the container runtime passes no annotations of pods (containerd does from 1.5.0 on, CRI-O from 1.29.0 on): " +
	`the entry of the plugin needs "capabilities": {"` + netconf.Capability + `": true}; to start pods without their rules, set "on_missing_annotations": "skip"`)

// ErrAmbient says that an entry asks for what the plugin cannot do.
var ErrAmbient = errors.New("ambient_enabled is true, and pods of Istio's ambient mode cannot be served: " +
	"remove it, or exclude their namespaces and use Istio's own plugin")

// Decide returns what is done with a pod. problems are those of the entry.
func Decide(entry netconf.Conf, problems []error, pod Pod) Decision {
	switch {
	case pod.Namespace != "" && slices.Contains(entry.ExcludeNamespaces, pod.Namespace):
		return skip("namespace " + pod.Namespace + " is excluded")
	case entry.AgentNamespace != "" && pod.Namespace == entry.AgentNamespace && strings.HasPrefix(pod.Name, "istio-cni-node-"):
		return skip("the pod is Istio's CNI agent")
	case entry.Ambient:
		return fail(append(slices.Clone(problems), ErrAmbient)...)
	case !entry.HasAnnotations && entry.OnMissing == netconf.MissingSkips:
		return skip("the container runtime passes no annotations")
	case !entry.HasAnnotations && len(problems) > 0:
		return fail(problems...)
	case !entry.HasAnnotations:
		return fail(ErrMissing)
	}
	injected := &reader{annotations: entry.Annotations}
	if d, decided := injected.skipped(); decided {
		return d
	}
	if len(problems) > 0 {
		return fail(problems...)
	}
	values := injected.values(entry)
	parsed, wrong := options.Apply.ParseValues(values)
	if wrong = append(injected.problems, wrong...); len(wrong) > 0 {
		return fail(wrong...)
	}
	d := Decision{Verdict: Apply, Reason: "istio-validation waits for the rules", Options: parsed, Values: values}
	if unknown := injected.unknownHints(); len(unknown) > 0 {
		d.Reason += "; no effect: " + strings.Join(unknown, ", ")
		d.Suspect = true
	}
	return d
}

// ForAnyPod returns what is done with an injected pod whose annotations say nothing more.
func ForAnyPod(entry netconf.Conf, problems []error) Decision {
	entry.HasAnnotations, entry.Annotations = true, map[string]string{statusKey: `{"initContainers":["istio-validation"]}`}
	return Decide(entry, problems, Pod{})
}

func skip(reason string) Decision { return Decision{Verdict: Skip, Reason: reason} }

func fail(errs ...error) Decision {
	reason := errs[0].Error()
	if more := len(errs) - 1; more > 0 {
		reason += fmt.Sprintf(" (and %d more)", more)
	}
	return Decision{Reason: reason, Errors: errs}
}

// skipped decides about pods that need no rules, or none of this plugin.
func (r *reader) skipped() (d Decision, decided bool) {
	status, there := r.annotation(statusKey)
	if !there {
		return skip("no annotation " + statusKey), true
	}
	containers := r.injected(status)
	if len(r.problems) > 0 {
		return fail(r.problems...), true
	}
	mode, given := r.annotation(modeKey)
	none := strings.EqualFold(strings.TrimSpace(mode), "NONE")
	switch {
	case slices.Contains(containers, "istio-init"):
		return skip("istio-init makes the rules"), true
	case !slices.Contains(containers, "istio-validation"):
		d = skip("no istio-validation was injected: a gateway, proxyless gRPC, mode NONE, or istiod does not know of the plugin")
		d.Suspect = given && !none && slices.Contains(containers, proxyName)
		return d, true
	case none:
		return skip(modeKey + " is NONE"), true
	}
	r.readProxy()
	switch role := r.role(); {
	case r.disabled():
		return skip("DISABLE_ENVOY is true; istio-validation will not pass"), true
	case role != "":
		return skip(fmt.Sprintf("the proxy is a %.40q and not a sidecar; istio-validation will not pass", role)), true
	}
	return Decision{}, false
}
