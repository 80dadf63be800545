package options

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A nameLookup returns the id of a user or group, or the TCP port of a service; an error if
// there is none of that name.
type nameLookup interface {
	uid(name string) (string, error)
	gid(name string) (string, error)
	port(name string) (int, error)
}

// systemNames are the users, groups and services of the system. Without /etc/services only a
// few services are known, such as http and https (net.LookupPort).
type systemNames struct {
	ctx func() context.Context // ends a wait for a file that is a FIFO
	err error                  // of a wait that was ended
}

func (s *systemNames) uid(name string) (string, error) {
	return await(s, func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

func (s *systemNames) gid(name string) (string, error) {
	return await(s, func() (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func (s *systemNames) port(name string) (int, error) {
	return await(s, func() (int, error) { return net.LookupPort("tcp", name) })
}

func await[T any](s *systemNames, find func() (T, error)) (T, error) {
	ctx := s.ctx()
	found, err := UntilDone(ctx, "read the names of accounts and services", find)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		s.err = fmt.Errorf("read the names of accounts and services: %w", cause)
	}
	return found, err
}

// parseIDs parses a list of ids, ranges and names; kind is "user" or "group".
func parseIDs(v, kind string, lookup func(string) (string, error)) ([]iptables.IDRange, error) {
	return list(v, func(v string) (iptables.IDRange, error) { return parseID(v, kind, lookup) })
}

func parseID(v, kind string, lookup func(string) (string, error)) (id iptables.IDRange, err error) {
	if strings.Trim(v, "0123456789-") == "" {
		if err := id.UnmarshalText([]byte(v)); err != nil {
			return id, valueError(v, "")
		}
		return id, nil
	}
	number, err := lookup(v)
	switch {
	case errors.Is(err, errNoNames):
		return id, valueError(v, "")
	case err != nil:
		return id, valueError(v, "is no %s of this system", kind)
	}
	if err := id.UnmarshalText([]byte(number)); err != nil {
		return id, valueError(v, "is a %s with the invalid id %s", kind, quote(number))
	}
	return id, nil
}

// resolve computes what depends on several options: the ids of the proxy, and the
// defaults of a generation. It updates the effective values.
func (s *Parsed) resolve() []error {
	c := &s.Config
	s.of("istio-inbound-interception-mode").text = c.Mode.String()
	if port := s.of("inbound-capture-port"); c.Generation == capture.Istio1_0 && port.from.kind == byDefault {
		c.InboundPort = c.ProxyPort // Istio 1.0 had one port for both
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
	if c.ProxyUIDs, err = parseIDs(uid.text, "user", s.names.uid); err != nil {
		problems = append(problems, uid.invalid(err))
	}
	c.ProxyGIDs, err = parseIDs(gid.text, "group", s.names.gid)
	switch {
	case err != nil && !notGiven:
		problems = append(problems, gid.invalid(err))
	case err != nil && len(problems) == 0:
		problems = append(problems, gid.invalid(fmt.Errorf("not given, so it is the value of --proxy-uid: %w", err)))
	}
	if c.OwnerGroups.All {
		c.OwnerGroups.Except = s.groupsExclude
	}
	return problems
}

// deriveUID sets the user of the proxy if none is given.
func (s *Parsed) deriveUID(uid *setting) {
	if strings.Trim(uid.text, " ,") != "" {
		return
	}
	var follows []string
	uid.text, uid.from = strconv.Itoa(capture.DefaultProxyID), origin{}
	if number, err := s.names.uid(s.envoyUser); err == nil {
		uid.text = number
		follows = append(follows, "ENVOY_USER")
	}
	if s.Config.Generation == capture.Istio1_0 {
		uid.text += ",0" // the certificate agent, which ran as root
		follows = append(follows, "--compat")
	}
	if len(follows) > 0 {
		uid.from = origin{derived, strings.Join(follows, " and ")}
	}
}

// conflicts returns the errors of values that are valid alone and not together.
func (s *Parsed) conflicts() []error {
	var problems []error
	if c := s.Config; c.Mode == capture.TProxy {
		if c.TProxyMark == capture.SelfCallMark {
			problems = append(problems, fmt.Errorf("%s: %d is the mark of connections from the proxy to its own pod: want another number",
				s.of("istio-inbound-tproxy-mark").name(), c.TProxyMark))
		}
		if c.Generation == capture.Istio1_0 {
			problems = append(problems, fmt.Errorf("%s: rules of Istio 1.0 can only be made for REDIRECT: with TPROXY, want current or 1.15",
				s.of("compat").name()))
		}
	}
	return problems
}

// ownerGroups parses the groups whose processes are captured.
func ownerGroups(s *Parsed, v string) (err error) {
	c := &s.Config.OwnerGroups
	c.All, c.Only, err = scope(v, s.parseGroup)
	if err == nil && !c.All && len(c.Only) == 0 {
		c.All = true
		s.warn("env ISTIO_OUTBOUND_OWNER_GROUPS names no group: %s", emptyOwnerGroups)
	}
	return joinLine(err, tooManyGroups(c.Only))
}

// emptyOwnerGroups says what an empty list of groups does here. In Istio nothing outbound
// is captured then.
const emptyOwnerGroups = "all groups are captured"

// ownerGroupsExclude parses the groups whose processes are not captured.
func ownerGroupsExclude(s *Parsed, v string) (err error) {
	s.groupsExclude, err = list(v, s.parseGroup)
	return err
}

func (s *Parsed) parseGroup(v string) (iptables.IDRange, error) {
	return parseID(v, "group", s.names.gid)
}

func tooManyGroups(groups []iptables.IDRange) error {
	if len(groups) > capture.MaxOwnerGroups {
		return fmt.Errorf("%d groups", len(groups))
	}
	return nil
}
