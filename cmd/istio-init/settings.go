package main

import (
	"fmt"
	"time"

	"istio-init/capture"
	"istio-init/iptables"
)

// settings are what the user asked for, in types.
type settings struct {
	config    capture.Config
	families  familyChoice
	dualStack bool // --dual-stack: with familiesAuto, IPv6 wherever there is an address

	dryRun      bool
	dryRunFile  string
	cleanupOnly bool
	skipApply   bool
	cniMode     bool
	nativeNFT   bool
	netns       string
	force       *iptables.Variant
	allowHost   bool          // the network namespace may be that of a machine
	timeout     time.Duration // bounds everything that is done to the kernel

	redirectDNS   bool
	captureAllDNS bool
	runValidation bool
	probePort     uint16
	probeTimeout  time.Duration

	log logSettings

	// warnings are what the user should know about the input: what means
	// nothing, and what means something else than it seems.
	warnings []string

	accounts accounts // who is who, for names among ids

	// What is read once all of the input is known.
	envoyUser          string
	proxyUID, proxyGID string
	groupsExclude      []iptables.IDRange
	inboundPortGiven   bool
}

func (s *settings) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// parseSettings turns flags and environment into types: a flag wins over the
// environment, that over the default. It returns every problem there is; then
// the settings are not to be used. meant selects the options to look at.
func parseSettings(flags []*flagValue, env lookupEnv, who accounts, meant func(option) bool) (*settings, []error) {
	s := &settings{accounts: who}
	var problems []error
	for _, f := range flags {
		o := f.option
		value, source := f.value, ""
		if !f.changed {
			value, source = o.fromEnvironment(env, s)
		}
		switch {
		case o.group == groupRemoved && (f.changed || source != ""):
			s.warn("%s is of older releases and means nothing: %s", o.name(source), o.help)
		case o.group == groupRemoved || !meant(o):
		default:
			given := f.changed || source != ""
			if err := o.parse(s, value, source, given); err != nil {
				problems = append(problems, err)
			}
		}
	}
	if meant(option{group: groupRules}) {
		problems = append(problems, s.resolve()...)
		s.explainInput()
	}
	return s, problems
}

type lookupEnv func(string) (string, bool)

// fromEnvironment returns the value of the last variable of an option that is
// set, and its name, or the default. A variable that is empty is not set: that
// is how an unused one looks in a pod. Two variables that disagree are worth a
// warning.
func (o option) fromEnvironment(env lookupEnv, s *settings) (value, source string) {
	value = o.def
	for _, name := range o.env {
		v, ok := env(name)
		if !ok || v == "" {
			if ok && o.warnEmpty != "" {
				s.warn("env %s is empty: %s", name, o.warnEmpty)
			}
			continue
		}
		if source != "" && v != value {
			s.warn("env %s=%s wins over env %s=%s", name, quote(v), source, quote(value))
		}
		value, source = v, name
	}
	return value, source
}

// parse sets an option from a value that came from a variable, or with source
// "" from its flag or its default. An error names them all.
func (o option) parse(s *settings, value, source string, given bool) error {
	err := o.set(s, value)
	if err == nil {
		if given && o.long == "inbound-capture-port" {
			s.inboundPortGiven = true
		}
		return nil
	}
	if source == "" && len(o.env) > 0 {
		source = o.env[0]
	}
	return fmt.Errorf("%s: %w; it takes %s", o.name(source), err, o.form)
}
