package main

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"istio-init/capture"
	"istio-init/capture/picture"
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

	// Of the commands that answer questions.
	question question
	rules    string       // where the rules are taken from; "": see rulesFrom
	podAddrs []netip.Addr // of the pod, where no namespace tells them
	output   outputForm
	form     picture.Format // in which rules are shown

	redirectDNS   bool
	captureAllDNS bool
	runValidation bool
	probePort     uint16
	probeTimeout  time.Duration

	log logSettings

	configFile string
	print      printForm // the form in which the settings are printed; zero: they are used

	// warnings are what the user should know about the input: what means
	// nothing, and what means something else than it seems.
	warnings []string

	accounts accounts // who is who, for names among ids

	// What is read once all of the input is known.
	envoyUser     string
	groupsExclude []iptables.IDRange

	// effective are the options that mean something to the command, in the order
	// of the table, each with the value that counts.
	effective []setting
}

func (s *settings) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// parseSettings turns flags, environment and configuration file into types: a flag
// wins over the environment, that over the file, that over the default. It returns
// every problem there is; then the settings are not to be used. meant selects the
// options to look at.
func parseSettings(flags []*flagValue, env lookupEnv, who accounts, meant func(*option) bool) (*settings, []error) {
	s := &settings{accounts: who, effective: make([]setting, 0, len(flags))}
	var problems []error
	for _, f := range flags {
		given := f.given(env, s)
		switch o := f.option; {
		case o.group == groupRemoved && given.from.kind != byDefault:
			name := o.name(given.from)
			if given.from.kind == byFlag {
				name = given.from.text
			}
			s.warn("%s is of older releases and means nothing: %s", name, o.help)
		case o.group == groupRemoved || !o.means(meant):
		default:
			s.effective = append(s.effective, given)
			if err := o.set(s, given.text); err != nil {
				problems = append(problems, given.refused(err))
			}
		}
	}
	if meant(&option{group: groupRules}) {
		problems = append(problems, s.resolve()...)
		s.explainInput()
	}
	return s, problems
}

// describes tells whether the user says which rules are meant, by a flag or in a
// file: the environment alone is often that of the pod.
func (s *settings) describes() bool {
	return slices.ContainsFunc(s.effective, func(v setting) bool {
		return v.option.group == groupRules && (v.from.kind == byFlag || v.from.kind == byFile)
	})
}

// of returns the setting of an option that the command knows.
func (s *settings) of(key string) *setting {
	for i := range s.effective {
		if s.effective[i].option.key() == key {
			return &s.effective[i]
		}
	}
	panic("bug: " + key + " is not an option of this command")
}

type lookupEnv func(string) (string, bool)

// given returns the value of an option that wins, and where it comes from.
func (f *flagValue) given(env lookupEnv, s *settings) setting {
	if f.changed {
		return setting{f.option, f.value, origin{byFlag, "--" + f.option.long}}
	}
	if value, name := f.option.fromEnvironment(env, s); name != "" {
		return setting{f.option, value, origin{byEnv, name}}
	}
	if f.inFile.kind == byFile {
		return setting{f.option, f.file, f.inFile}
	}
	for _, name := range f.option.env {
		if _, ok := env(name); ok && f.option.warnEmpty != "" {
			s.warn("env %s is empty: %s", name, f.option.warnEmpty)
		}
	}
	return setting{option: f.option, text: f.option.def}
}

// fromEnvironment returns the value of the last variable of an option that is
// set, and its name. A variable that is empty is not set: that is how an unused
// one looks in a pod. Two variables that disagree are worth a warning.
func (o *option) fromEnvironment(env lookupEnv, s *settings) (value, source string) {
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
