package report

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A redirection is a foreign redirect in words: of both families, if they differ in nothing but
// what is excepted.
type redirection struct {
	infer.Redirect
	packets string   // which it takes
	except  excepted // which it does not
}

// MeshBeside warns of another mesh whose rules are in a pod with ours.
func MeshBeside(f inet.Family, m infer.Mesh) string {
	return fmt.Sprintf("%s: rules of %s are there too, and redirect connections: the rule that comes first decides", f, m)
}

// foreignRedirects returns the foreign redirects of rules, in words.
func foreignRedirects(rules []*infer.Inference) []redirection {
	var all []redirection
	for _, r := range rules {
		for _, found := range r.Redirects() {
			next := redirection{Redirect: found, packets: packetsText(found, r.Rules.Family)}
			i := slices.IndexFunc(all, func(have redirection) bool {
				return have.packets == next.packets && have.Mesh == next.Mesh && have.Hook == next.Hook && have.Port == next.Port &&
					have.At.Table == next.At.Table && have.At.Chain == next.At.Chain
			})
			if i < 0 {
				i, all = len(all), append(all, next)
			}
			for _, p := range found.Except {
				all[i].except.add(p, r.Rules.Family)
			}
		}
	}
	return all
}

// excepted are exceptions by their kind, as iptables prints their values.
type excepted [len(exceptKinds)][]string

// exceptKinds are the kinds of exceptions by the option of iptables.
var exceptKinds = [...]struct {
	flags     []string
	one, many string
}{
	{[]string{"--dport", "--dports"}, "port %s", "ports %s"},
	{[]string{"-d"}, "destination %s", "destinations %s"},
	{[]string{"-i", "-o"}, "interface %s", "interfaces %s"},
	{[]string{"--uid-owner"}, "user %s", "users %s"},
	{[]string{"--gid-owner"}, "group %s", "groups %s"},
	{[]string{"--mark"}, "mark %s", "marks %s"},
	{nil, "what matches %s", "what matches %s"}, // of several conditions
}

const (
	exceptedUsers = 3
	exceptedMarks = 5
)

// add adds an exception.
func (e *excepted) add(p infer.Packets, f inet.Family) {
	var conditions []iptables.Condition
	for c := range p.Conditions() {
		if c.Flag != "-p" {
			conditions = append(conditions, c)
		}
	}
	kind, value := len(e)-1, fmt.Sprintf("%q", conditionsText(p, f))
	if len(conditions) == 1 && len(p.Unknown) == 0 && !conditions[0].Neg {
		for i, k := range exceptKinds {
			if slices.Contains(k.flags, conditions[0].Flag) {
				kind, value = i, conditions[0].Value
				if i == 0 { // ports, as options take them
					value = strings.NewReplacer(",", ", ", ":", "-").Replace(value)
				}
			}
		}
	}
	if !slices.Contains(e[kind], value) {
		e[kind] = append(e[kind], value)
	}
}

// texts returns a clause for each kind.
func (e *excepted) texts() []string {
	var texts []string
	for i, k := range exceptKinds {
		one := k.one
		if len(e[i]) == 1 && strings.ContainsAny(e[i][0], ",-") {
			one = k.many
		}
		if text := listFact(one, k.many, e[i]); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

func (e *excepted) String() string {
	if texts := e.texts(); len(texts) > 0 {
		return "; but not " + strings.Join(texts, "; ")
	}
	return ""
}

// conditionsText is a match as iptables prints it.
func conditionsText(p infer.Packets, f inet.Family) string {
	words := p.Unknown
	if text := (iptables.Rule{Match: p.Match}).Text(f); text != "" {
		words = append([]string{text}, words...)
	}
	return strings.Join(words, " ")
}

// packetsText says which packets a redirect takes.
func packetsText(r infer.Redirect, f inet.Family) string {
	text := "TCP and UDP"
	if r.Proto != 0 {
		text = strings.ToUpper(r.Proto.String())
	}
	for _, p := range r.Only {
		var only excepted
		if only.add(p, f); len(only[0]) > 0 {
			if to := " to " + only.texts()[0]; !strings.HasSuffix(text, to) {
				text += to
			}
			continue
		}
		p.Proto = 0
		text += fmt.Sprintf(" that matches %q", conditionsText(p, f))
	}
	return text
}

// isDNS reports whether a redirect takes DNS queries alone.
func (r *redirection) isDNS() bool {
	return strings.HasSuffix(r.packets, fmt.Sprintf(" to port %d", capture.DNSPort))
}

// label names what a redirect is about.
func (r *redirection) label() string {
	switch {
	case r.isDNS():
		return "DNS queries"
	case r.Hook == iptables.Output:
		return "outbound"
	}
	return "inbound"
}

// document returns the redirect for programs.
func (r *redirection) document() redirect {
	out := redirect{Mesh: meshOf(r.Mesh), Of: wayInbound, Port: r.Port, Table: r.At.Table, Chain: r.At.Chain}
	switch {
	case r.isDNS():
		out.Of = wayDNS
	case r.Hook == iptables.Output:
		out.Of = wayOutbound
	}
	if r.Proto != 0 {
		out.Proto = r.Proto.String()
	}
	return out
}

// text says what a redirect does.
func (r *redirection) text() string {
	port := "a local port"
	if r.Port != 0 {
		port = fmt.Sprintf("local port %d", r.Port)
	}
	if r.Mesh == infer.OtherMesh {
		return fmt.Sprintf("%s is redirected to %s by %s %s%s", r.packets, port, r.At.Table, r.At.Chain, &r.except)
	}
	proxy := "the proxy"
	if r.Mesh == infer.IstioAmbient {
		proxy = "ztunnel"
	}
	return fmt.Sprintf("%s -> %s of %s%s", r.packets, port, proxy, &r.except)
}

// addMeshes adds what foreign rules redirect. Beside ours it is a warning.
func (s *State) addMeshes(src Source) {
	rules := slices.Concat(src.Rules, src.Others)
	redirects := foreignRedirects(rules)
	for _, r := range redirects {
		if name := r.Mesh.String(); r.Mesh != infer.OtherMesh && !slices.Contains(s.Meshes, name) {
			s.Meshes = append(s.Meshes, name)
		}
		if by := meshOf(r.Mesh); !slices.Contains(s.CapturedBy, by) {
			s.CapturedBy = append(s.CapturedBy, by)
		}
		s.Redirects = append(s.Redirects, r.document())
	}
	if len(src.Captured()) > 0 {
		for _, r := range rules {
			for _, mesh := range r.Meshes() {
				s.Warnings = append(s.Warnings, MeshBeside(r.Rules.Family, mesh))
			}
		}
		return
	}
	proxy := takeProxy(redirects)
	for _, r := range redirects {
		s.Facts = append(s.Facts, newFact(r.label(), r.text()))
		s.redirects = append(s.redirects, r.label())
	}
	if proxy != "" {
		s.Facts = append(s.Facts, newFact("proxy", proxy))
	}
	for _, r := range rules {
		if name := r.Rules.Family.String(); len(r.Redirects()) > 0 && !slices.Contains(s.redirected, name) {
			s.redirected = append(s.redirected, name)
		}
	}
}

// takeProxy says how the rules of a mesh know its proxy, and removes that from the exceptions:
// ztunnel by its mark, the others by the one user that is excepted.
func takeProxy(redirects []redirection) string {
	var users []string
	remove := func(kind int, value string) {
		for i := range redirects {
			list := &redirects[i].except[kind]
			*list = slices.DeleteFunc(*list, func(v string) bool { return v == value })
		}
	}
	for _, r := range redirects {
		if r.Mesh == infer.IstioAmbient {
			mark := infer.ZtunnelMark.String()
			remove(exceptedMarks, mark)
			return "ztunnel, whose packets have mark " + mark
		}
		for _, user := range r.except[exceptedUsers] {
			if r.Mesh != infer.OtherMesh && !slices.Contains(users, user) {
				users = append(users, user)
			}
		}
	}
	if len(users) != 1 {
		return ""
	}
	remove(exceptedUsers, users[0])
	return "user " + users[0]
}

// meshHeadline says who captures, where that is not us.
func (s State) meshHeadline() string {
	var what []string
	for _, label := range []string{"inbound", "outbound", "DNS queries"} {
		if slices.Contains(s.redirects, label) {
			what = append(what, label)
		}
	}
	by := "redirected by foreign rules: "
	if len(s.Meshes) > 0 {
		by = "captured by " + strings.Join(s.Meshes, " and ") + ": "
	}
	last := len(what) - 1
	if last > 0 {
		what = []string{strings.Join(what[:last], ", "), what[last]}
	}
	return by + strings.Join(what, " and ") + ", " + strings.Join(s.redirected, " and ")
}
