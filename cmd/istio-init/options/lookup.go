package options

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// accounts look names up; an error says that there is no such name.
type accounts interface {
	uid(name string) (string, error)
	gid(name string) (string, error)
}

// systemAccounts are those of the machine.
type systemAccounts struct{}

func (systemAccounts) uid(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func (systemAccounts) gid(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// parseIDs parses a list of ids, ranges of them and names; kind is what a name
// is of.
func parseIDs(v, kind string, lookup func(string) (string, error)) ([]iptables.IDRange, error) {
	return list(v, func(v string) (iptables.IDRange, error) { return parseID(v, kind, lookup) })
}

func parseID(v, kind string, lookup func(string) (string, error)) (id iptables.IDRange, err error) {
	if strings.Trim(v, "0123456789-") == "" {
		if err := id.UnmarshalText([]byte(v)); err != nil {
			return id, bad(v, "is not an id or range of ids: it %v", err)
		}
		return id, nil
	}
	number, err := lookup(v)
	if err != nil {
		return id, bad(v, "is neither an id nor the name of a %s here", kind)
	}
	if err := id.UnmarshalText([]byte(number)); err != nil {
		return id, bad(v, "is a %s whose id is %s, which %v", kind, quote(number), err)
	}
	return id, nil
}

// resolve parses what depends on other values: the ids of the proxy, and what
// follows from the generation. The settings then say what counts.
func (s *Parsed) resolve() []error {
	c := &s.Config
	s.of("istio-inbound-interception-mode").text = c.Mode.String()
	if port := s.of("inbound-capture-port"); c.Generation == capture.Istio1_0 && port.from.kind == byDefault {
		c.InboundPort = c.ProxyPort // as there was one port for both
		port.text, port.from = strconv.Itoa(int(c.ProxyPort)), origin{derived, "--envoy-port and --compat"}
	}
	uid, gid := s.of("proxy-uid"), s.of("proxy-gid")
	s.deriveUID(uid)
	notGiven := strings.Trim(gid.text, " ,") == ""
	if notGiven {
		gid.text, gid.from = uid.text, origin{derived, "--proxy-uid"}
	}
	problems := s.conflicts()
	var err error
	if c.ProxyUIDs, err = parseIDs(uid.text, "user", s.accounts.uid); err != nil {
		problems = append(problems, uid.refused(err))
	}
	c.ProxyGIDs, err = parseIDs(gid.text, "group", s.accounts.gid)
	switch {
	case err != nil && !notGiven:
		problems = append(problems, gid.refused(err))
	case err != nil && len(problems) == 0:
		problems = append(problems, gid.refused(fmt.Errorf("not given, so it is that of --proxy-uid: %w", err)))
	}
	if c.OwnerGroups.All {
		c.OwnerGroups.Except = s.groupsExclude
	}
	return problems
}

// deriveUID fills in the user of the proxy where none is given.
func (s *Parsed) deriveUID(uid *setting) {
	if strings.Trim(uid.text, " ,") != "" {
		return
	}
	var follows []string
	uid.text, uid.from = strconv.Itoa(capture.DefaultProxyID), origin{}
	if number, err := s.accounts.uid(s.envoyUser); err == nil {
		uid.text = number
		follows = append(follows, "ENVOY_USER")
	}
	if s.Config.Generation == capture.Istio1_0 {
		uid.text += ",0" // for the certificate agent, which ran as root
		follows = append(follows, "--compat")
	}
	if len(follows) > 0 {
		uid.from = origin{derived, strings.Join(follows, " and ")}
	}
}

// conflicts are values that are right by themselves and wrong together.
func (s *Parsed) conflicts() []error {
	var problems []error
	if c := s.Config; c.Mode == capture.TProxy {
		if c.TProxyMark == capture.SelfCallMark {
			problems = append(problems, fmt.Errorf("%s: %d marks the proxy's calls to its own pod; it takes any other number",
				s.of("istio-inbound-tproxy-mark").name(), c.TProxyMark))
		}
		if c.Generation == capture.Istio1_0 {
			problems = append(problems, fmt.Errorf("%s: the rules of Istio 1.0 are known only for REDIRECT; with TPROXY it takes current or 1.15",
				s.of("compat").name()))
		}
	}
	return problems
}

// ownerGroups takes the groups whose processes are captured.
func ownerGroups(s *Parsed, v string) (err error) {
	c := &s.Config.OwnerGroups
	c.All, c.Only, err = scope(v, s.parseGroup)
	if err == nil && !c.All && len(c.Only) == 0 {
		c.All = true
		s.warn("env ISTIO_OUTBOUND_OWNER_GROUPS names no group: %s", emptyOwnerGroups)
	}
	return joinLine(err, tooManyGroups(c.Only))
}

// emptyOwnerGroups is what an empty list of groups means here; for Istio it means
// that nothing outbound is captured.
const emptyOwnerGroups = "the processes of all groups are captured"

// ownerGroupsExclude takes the groups whose processes are left alone.
func ownerGroupsExclude(s *Parsed, v string) (err error) {
	s.groupsExclude, err = list(v, s.parseGroup)
	return joinLine(err, tooManyGroups(s.groupsExclude))
}

func (s *Parsed) parseGroup(v string) (iptables.IDRange, error) {
	return parseID(v, "group", s.accounts.gid)
}

func tooManyGroups(groups []iptables.IDRange) error {
	if len(groups) > capture.MaxOwnerGroups {
		return fmt.Errorf("names %d groups", len(groups))
	}
	return nil
}
