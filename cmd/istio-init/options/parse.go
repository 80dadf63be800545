package options

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"istio-init/capture"
	"istio-init/capture/picture"
	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
)

// A Run is what the user asked for, as typed values.
type Run struct {
	Config    capture.Config
	Families  pod.FamilyChoice
	DualStack bool // with FamiliesByAddress: IPv6 wherever there is an address
	// RedirectDNS captures DNS queries: those to the servers of the namespace, or with
	// CaptureAllDNS all. Config.DNS is empty until the servers are known.
	RedirectDNS   bool
	CaptureAllDNS bool
	NameServers   []netip.Addr // of the namespace, with RedirectDNS

	DryRun     bool
	Plan       bool   // print the steps that a run would take, and take none
	DryRunFile string // also gets what a dry run prints; "": none
	Clean      bool   // remove the rules, whatever the other options say
	SkipApply  bool
	CNIMode    bool
	NetNS      string           // a path or a name; "": the current one
	Force      *xtables.Variant // nil: the one that fits
	NativeNFT  bool             // rules in tables of nf_tables of their own
	AllowHost  bool             // the network namespace may be that of a machine
	Timeout    time.Duration    // of everything that is done to the kernel

	RunValidation bool
	ProbePort     uint16
	ProbeTimeout  time.Duration

	// Of the commands that change nothing.
	Query    Query
	Rules    string       // where the rules are taken from; "": see RulesFrom
	PodAddrs []netip.Addr // of the pod, where they are not read from a namespace
	Output   Output
	Require  bool        // check: connections have to be captured
	Expect   Expectation // trace
	// AllNamespaces asks about all network namespaces of the machine, with live rules.
	AllNamespaces bool
	Picture       picture.Format // in which rules are shown

	// RulesGiven reports whether a flag or a file says which rules are meant. The
	// environment alone does not: it is often that of the pod.
	RulesGiven bool
	Log        Log
}

// Parsed is a Run, and the options that it was parsed from.
type Parsed struct {
	Run
	// Warnings name options that have no effect, or another one than expected.
	Warnings []string

	configFile string
	print      printForm // zero: the options are used and not printed
	names      nameLookup

	// For resolve, when all options are parsed.
	envoyUser     string
	groupsExclude []iptables.IDRange

	// effective are the options that have an effect on the command, with their values, in
	// the order of the table.
	effective []setting
}

func (s *Parsed) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// parseSettings parses flags, environment and configuration file: a flag wins over the
// environment, that over the file, that over the default. It returns every problem; then
// the result must not be used. meant selects the options that are parsed.
func parseSettings(flags []*flagValue, env Env, names nameLookup, meant func(*option) bool) (*Parsed, []error) {
	s := &Parsed{names: names, effective: make([]setting, 0, len(flags))}
	var problems []error
	for _, f := range flags {
		given := f.given(env, s)
		switch o := f.option; {
		case o.group == groupRemoved && given.from.kind != byDefault:
			name := o.name(given.from)
			if given.from.kind == byFlag {
				name = given.from.text
			}
			s.warn("%s is from an older release and has no effect: %s", name, o.help)
		case o.group == groupRemoved || !o.affects(meant):
		default:
			s.effective = append(s.effective, given)
			err := o.set(s, given.text)
			if err == nil && given.text == "" && given.from.kind == byFlag && o.refusesEmpty() {
				err = valueError("", "")
			}
			if err != nil {
				problems = append(problems, given.invalid(err))
			}
		}
	}
	if meant(&option{group: groupRules}) {
		problems = append(problems, s.resolve()...)
		s.explainInput()
	}
	s.RulesGiven = s.describesRules()
	if s.AllNamespaces && (s.Rules != "" && s.Rules != RulesLive || s.NetNS != "") {
		problems = append(problems, errors.New("--all-namespaces is about the live rules of each network namespace: omit --rules and --network-namespace"))
	}
	return s, problems
}

// describesRules reports whether a flag or a file says which rules are meant.
func (s *Parsed) describesRules() bool {
	return slices.ContainsFunc(s.effective, func(v setting) bool {
		return v.option.group == groupRules && (v.from.kind == byFlag || v.from.kind == byFile)
	})
}

// of returns the setting of an option of the command.
func (s *Parsed) of(key string) *setting {
	for i := range s.effective {
		if s.effective[i].option.key() == key {
			return &s.effective[i]
		}
	}
	panic("bug: " + key + " is not an option of this command")
}

// Name returns how messages name an option of the command and what has supplied its value.
func (s *Parsed) Name(key string) string { return s.of(key).name() }

// An Env returns a variable of the environment, and whether it is set.
type Env func(string) (string, bool)

// given returns the effective value of an option and its origin.
func (f *flagValue) given(env Env, s *Parsed) setting {
	if f.changed {
		if f.others && f.option.form.list {
			s.warn("--%s is given more than once, and the last one counts, %s: write a list as one value, as in 80,443", f.option.long, quote(f.value))
		}
		return setting{f.option, f.value, origin{byFlag, "--" + f.option.long}}
	}
	if value, name := f.option.fromEnvironment(env, s); name != "" {
		return setting{f.option, value, origin{byEnv, name}}
	}
	if f.inFile.kind != byDefault {
		return setting{f.option, f.file, f.inFile}
	}
	for _, name := range f.option.env {
		if _, ok := env(name); ok && f.option.warnEmpty != "" {
			s.warn("env %s is empty: %s", name, f.option.warnEmpty)
		}
	}
	return setting{option: f.option, text: f.option.def}
}

// fromEnvironment returns the value of the last variable of an option that is set, and
// its name. An empty variable counts as unset, since a pod template leaves unused ones
// empty. It warns of two variables that disagree.
func (o *option) fromEnvironment(env Env, s *Parsed) (value, source string) {
	for _, name := range o.env {
		v, ok := env(name)
		if !ok || v == "" {
			continue
		}
		if source != "" && v != value {
			s.warn("env %s=%s wins over env %s=%s", name, quote(v), source, quote(value))
		}
		value, source = v, name
	}
	return value, source
}
