package decision

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/size"
)

// An axis is one thing that annotations can say, with values that are right, empty and wrong.
type axis struct {
	key    string // of the annotation, or of what it contains
	values []string
}

var axes = []axis{
	{modeKey, []string{"", "REDIRECT", "TPROXY", "tproxy", "FOO"}},
	{"traffic.sidecar.istio.io/includeOutboundIPRanges", []string{"", "*", "10.0.0.0/8,fd00::/8", "10.0.0.1", "*,10.0.0.0/8"}},
	{"traffic.sidecar.istio.io/excludeOutboundIPRanges", []string{"", "10.1.0.0/16, 2001:db8::/32", "*", "10.1.0.0/33"}},
	{"traffic.sidecar.istio.io/includeInboundPorts", []string{"", "*", "80,443", " 80 , 443 ", "80a", "0"}},
	{"traffic.sidecar.istio.io/excludeInboundPorts", []string{"", "15020", "9090,9091,15020", "15099", "8000-8100,15090", "*", "65536"}},
	{"traffic.sidecar.istio.io/includeOutboundPorts", []string{"", "5432", "5432,6000-6010", "5432; evil", "-A"}},
	{"traffic.sidecar.istio.io/excludeOutboundPorts", []string{"", "3306,27017", "15020", "$(id)", "3306\n-j ACCEPT"}},
	{"istio.io/reroute-virtual-interfaces", []string{"", "net1,net2", "a-name-that-is-too-long", "net1;id"}},
	{"traffic.sidecar.istio.io/kubevirtInterfaces", []string{"", "net9", "net 9"}},
	{"traffic.sidecar.istio.io/excludeInterfaces", []string{"", "eth1", "eth+", "../eth1"}},
	{"ISTIO_META_DNS_CAPTURE", []string{"", "true", "0", "yes"}},
	{"ISTIO_DUAL_STACK", []string{"", "TRUE", "false", "on"}},
	{"INVALID_DROP", []string{"", "1", "f", "2"}},
	{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", []string{"", "2000,3000-3010", "-5"}},
	{"runAsUser", []string{"0", "2000", "4294967295"}},
	{"runAsGroup", []string{"0", "2001", "4294967295"}},
}

// shortFlags are the flags of the annotations that have one each, in the order of Istio's plugin,
// and what that takes where there is none.
var shortFlags = []struct{ key, flag, absent string }{
	{modeKey, "-m", "REDIRECT"},
	{"traffic.sidecar.istio.io/includeOutboundIPRanges", "-i", "*"},
	{"traffic.sidecar.istio.io/excludeOutboundIPRanges", "-x", ""},
	{"traffic.sidecar.istio.io/includeInboundPorts", "-b", "*"},
	{"traffic.sidecar.istio.io/includeOutboundPorts", "-q", ""},
	{"traffic.sidecar.istio.io/excludeOutboundPorts", "-o", "15020"},
	{"traffic.sidecar.istio.io/excludeInterfaces", "-c", ""},
}

// A saying is what annotations say, by the keys of axes.
type saying map[string]string

// flags returns what istio-init is called with for the same.
func (s saying) flags() []string {
	var args []string
	for _, o := range shortFlags {
		value, there := s[o.key]
		if !there {
			value = o.absent
		}
		args = append(args, o.flag, value)
	}
	args = append(args, "-d", strings.TrimPrefix(s["traffic.sidecar.istio.io/excludeInboundPorts"]+",15020,15021,15090", ","))
	virtual, there := s["istio.io/reroute-virtual-interfaces"]
	if !there {
		virtual = s["traffic.sidecar.istio.io/kubevirtInterfaces"]
	}
	args = append(args, "-k", virtual)
	if on := s["ISTIO_META_DNS_CAPTURE"]; on != "" {
		args = append(args, "--redirect-dns="+on, "--capture-all-dns="+on)
	}
	for key, flag := range map[string]string{"ISTIO_DUAL_STACK": "--dual-stack=", "INVALID_DROP": "--drop-invalid="} {
		if on := s[key]; on != "" {
			args = append(args, flag+on)
		}
	}
	uid, gid := "1337", "1337"
	if id := s["runAsUser"]; id != "" && id != "0" && !strings.EqualFold(s[modeKey], "TPROXY") {
		uid = id
	}
	if id := s["runAsGroup"]; id != "" && id != "0" {
		gid = id
	}
	return append(args, "-u", uid, "-g", gid)
}

// annotations returns the annotations of a pod that say it.
func (s saying) annotations() map[string]string {
	all := map[string]string{statusKey: injected[statusKey]}
	var metadata, context []string
	for _, a := range axes {
		switch value, there := s[a.key]; {
		case !there:
		case a.key == "runAsUser" || a.key == "runAsGroup":
			context = append(context, fmt.Sprintf("%q:%s", a.key, value))
		case strings.Contains(a.key, "/"):
			all[a.key] = value
		default:
			metadata = append(metadata, a.key+": "+strconv.Quote(value))
		}
	}
	if len(metadata) > 0 {
		all[configKey] = "proxyMetadata:\n  " + strings.Join(metadata, "\n  ")
	}
	if len(context) > 0 {
		all[overridesKey] = `{"containers":[{"name":"istio-proxy","securityContext":{` + strings.Join(context, ",") + `}}]}`
	}
	return all
}

// check wants the decision to mean what the flags mean, and to refuse what they refuse.
func (s saying) check(t *testing.T) {
	t.Helper()
	d := Decide(entry(s.annotations()), nil, Pod{"demo", "web"})
	args := s.flags()
	groups, given := s["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"]
	same, problems := parseFlags(t, args, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", groups, given)
	switch {
	case (d.Verdict == Fail) != (len(problems) > 0) || d.Verdict == Skip:
		t.Fatalf("%q: %s: %s\nistio-init %q: %v", s, d.Verdict, d.Reason, args, problems)
	case d.Verdict == Fail && len(d.Errors) != len(problems):
		// DNS has one value here and two flags there.
		if dns := s["ISTIO_META_DNS_CAPTURE"]; dns != "yes" || len(d.Errors) < 1 {
			t.Fatalf("%q: %q\nistio-init %q: %q", s, d.Errors, args, problems)
		}
	case d.Verdict == Apply:
		if diff := cmp.Diff(meaning(same), meaning(d.Options)); diff != "" {
			t.Fatalf("%q differs from istio-init %q (-want +got):\n%s", s, args, diff)
		}
	}
}

// TestAnnotationsMeanWhatFlagsMean has each annotation alone: absent, empty, right and wrong.
func TestAnnotationsMeanWhatFlagsMean(t *testing.T) {
	t.Parallel()
	saying{}.check(t)
	for _, a := range axes {
		for _, value := range a.values {
			saying{a.key: value}.check(t)
		}
	}
}

// TestPairsOfAnnotationsMeanWhatFlagsMean has all values of all pairs, in make test a sample.
func TestPairsOfAnnotationsMeanWhatFlagsMean(t *testing.T) {
	t.Parallel()
	every := size.Of(7, 3, 1)
	n := 0
	for i, a := range axes {
		for _, b := range axes[i+1:] {
			for _, x := range a.values {
				for _, y := range b.values {
					if n++; n%every == 0 {
						saying{a.key: x, b.key: y}.check(t)
					}
				}
			}
		}
	}
}

// TestAllAnnotationsMeanWhatFlagsMean has all at once, each with one of its values, or absent.
func TestAllAnnotationsMeanWhatFlagsMean(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same cases each time
	for range size.Of(50, 400, 20_000) {
		s := saying{}
		for _, a := range axes {
			values := slices.Clone(a.values)
			if random.IntN(4) > 0 { // the last values are wrong: mostly leave them out
				values = values[:len(values)-1]
			}
			if i := random.IntN(len(values) + 1); i < len(values) {
				s[a.key] = values[i]
			}
		}
		s.check(t)
	}
}
