package options

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// An input is what a user says: values by the long name of a flag or the name of
// a variable.
type input map[string]string

// fakeNames are accounts whose ids are what they should not be, too.
type fakeNames map[string]string

var someNames = fakeNames{
	"root": "0", "istio-proxy": "1337", "high": "4294967294",
	"none": "4294967295", "evil": "0 -j ACCEPT", "negative": "-1", "lines": "0\nCOMMIT",
}

func (a fakeNames) id(name string) (string, error) {
	if id, ok := a[name]; ok {
		return id, nil
	}
	return "", errors.New("no such name")
}

func (a fakeNames) uid(name string) (string, error) { return a.id(name) }
func (a fakeNames) gid(name string) (string, error) { return a.id(name) }

func (fakeNames) port(name string) (int, error) {
	if port, ok := map[string]int{"http": 80, "https": 443, "zero": 0, "much": 1 << 16}[name]; ok {
		return port, nil
	}
	return 0, errors.New("no such service")
}

// parse reads an input as the command apply does.
func (in input) parse(t *testing.T) (*Parsed, []error) {
	t.Helper()
	flags, env := in.given(t)
	return parseSettings(flags.values, env, someNames, allOptions)
}

// names are all flags and variables there are.
func names() []string {
	var all []string
	for _, o := range options {
		if o.long != "" {
			all = append(all, o.long)
		}
		all = append(all, o.env...)
	}
	return all
}

// check demands of an input either errors that a user can do something with, or
// rules that are nothing but those of the config.
func (in input) check(t *testing.T) {
	t.Helper()
	set, problems := in.parse(t)
	checkSettings(t, set, problems)
}

// checkSettings demands it of what an input was read as.
func checkSettings(t *testing.T, set *Parsed, problems []error) {
	t.Helper()
	for _, p := range problems {
		if !strings.HasPrefix(p.Error(), "and ") { // more of the same
			checkProblem(t, p.Error())
		}
	}
	for _, w := range set.Warnings {
		checkLine(t, w)
	}
	if len(problems) > 0 {
		return
	}
	servers := []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("::10.0.0.1")}
	set.takeServers(servers)
	if err := set.Config.Validate(); err != nil {
		t.Fatalf("accepted, but the config is not valid: %v", err)
	}
	for _, f := range inet.Families {
		checkRules(t, capture.Rules(set.Config, f))
	}
}

// checkProblem wants the error of one option: its name and what it accepts, on one
// line that can be read.
func checkProblem(t *testing.T, text string) {
	t.Helper()
	checkLine(t, text)
	named := slices.ContainsFunc(names(), func(name string) bool {
		for _, start := range []string{"--" + name + " (env ", "--" + name + " (-", "--" + name + ": ", "env " + name + ": ", "--" + name + " (stdin line ", name + " (stdin line "} {
			if strings.HasPrefix(text, start) {
				return true
			}
		}
		return false
	})
	if !named && !strings.HasPrefix(text, "stdin line ") {
		t.Errorf("does not begin with the name of a flag or variable, or a line of a file: %.200q", text)
	}
	if !strings.Contains(text, ": want ") {
		t.Errorf("does not say what is accepted: %.200q", text)
	}
}

func checkLine(t *testing.T, text string) {
	t.Helper()
	const most = 4096
	if len(text) > most {
		t.Errorf("%d bytes, more than %d: %.200q...", len(text), most, text)
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		t.Errorf("has a control character: %.200q", text)
	}
}

// checkRules wants the text of rules to say what the typed rules say, line for
// line and nothing else.
func checkRules(t *testing.T, rs iptables.Ruleset) {
	t.Helper()
	if err := rs.Validate(); err != nil {
		t.Fatalf("%s: the rules are not valid: %v", rs.Family, err)
	}
	typed := map[string][]iptables.Rule{} // by table and chain
	for _, table := range rs.Tables {
		for _, chain := range table.Chains {
			typed[table.Name+" "+chain.Name] = chain.Rules
		}
	}
	table, lines := "", 0
	for line := range strings.Lines(rs.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%s: not plain text: %q", rs.Family, line)
		}
		words := strings.Fields(line)
		switch {
		case line == "COMMIT" && table != "":
			table = ""
		case table == "" && len(words) == 1 && strings.HasPrefix(line, "*"):
			table = line[1:]
		case table != "" && len(words) == 3 && strings.HasPrefix(line, ":") && words[2] == "[0:0]":
		case table != "" && len(words) > 2 && words[0] == "-A":
			lines++
			rules := typed[table+" "+words[1]]
			if len(rules) == 0 {
				t.Fatalf("%s: a rule more than there are: %q", rs.Family, line)
			}
			checkRule(t, rs.Family, rules[0], strings.TrimPrefix(line, "-A "+words[1]+" "))
			typed[table+" "+words[1]] = rules[1:]
		default:
			t.Fatalf("%s: not a line of rules: %q", rs.Family, line)
		}
	}
	if lines != rs.Len() {
		t.Fatalf("%s: %d lines of rules for %d rules", rs.Family, lines, rs.Len())
	}
}

// checkRule wants a text to be read as the rule it was printed from.
func checkRule(t *testing.T, f inet.Family, want iptables.Rule, text string) {
	t.Helper()
	got, err := iptables.ParseRule(f, text)
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	want.Src, want.Dst = canonical(want.Src), canonical(want.Dst)
	want.Role = 0 // which no text has
	if !reflect.DeepEqual(want, got) {
		prefix := cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })
		t.Fatalf("%s: %q is read as another rule (-want +got):\n%s", f, text, cmp.Diff(want, got, prefix))
	}
}

// canonical is a condition as it comes back from text: without host bits, and
// nothing where every address is meant.
func canonical(c iptables.Cond[netip.Prefix]) iptables.Cond[netip.Prefix] {
	if !c.Set || c.Val.Bits() == 0 {
		return iptables.Cond[netip.Prefix]{}
	}
	c.Val = c.Val.Masked()
	return c
}

// separator stands between the values of a fuzz input: a character that no seed
// has in a value.
const separator = "\x1f"

// FuzzFlags gives any values to any flags and variables at once. The input is a
// list of NAME=VALUE; a name that does not exist stands for one that does, so
// that each input says something.
func FuzzFlags(f *testing.F) {
	for _, seed := range []string{
		"",
		"istio-inbound-ports=*\x1fistio-service-cidr=*\x1fistio-local-exclude-ports=15090,15021,15020\x1fproxy-uid=1337",
		"istio-inbound-ports=80,443,8000-8010\x1fistio-service-cidr=10.0.0.0/8,fd00::/8\x1fistio-service-exclude-cidr=10.1.0.0/16",
		"istio-outbound-ports=9000,9001\x1fistio-local-outbound-ports-exclude=3306,53\x1fkube-virt-interfaces=eth1,eth2\x1fistio-exclude-interfaces=net+",
		"ISTIO_OUTBOUND_OWNER_GROUPS=0,202,root\x1fISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=888\x1fproxy-gid=0,1000-2000",
		"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.1/8\x1fdrop-invalid=true\x1fDUAL_STACK=1\x1fISTIO_DUAL_STACK=0",
		"compat=1.15\x1fistio-service-cidr=0.0.0.0/0,::/0\x1fenvoy-port=15001\x1fINBOUND_CAPTURE_PORT=15006",
		"compat=1.0\x1fistio-service-cidr=::ffff:10.0.0.0/104,::7f00:35/128,127.0.0.0/8\x1fproxy-uid=\x1fENVOY_USER=root",
		"istio-inbound-interception-mode=TPROXY\x1fistio-inbound-ports=80,443\x1fistio-inbound-tproxy-mark=0x100\x1fistio-inbound-tproxy-route-table=200",
		"ISTIO_INBOUND_INTERCEPTION_MODE=tproxy\x1fISTIO_INBOUND_PORTS=*\x1fISTIO_META_DNS_CAPTURE=true\x1fCAPTURE_ALL_DNS=1\x1fproxy-gid=0,1337",
		"redirect-dns=true\x1fproxy-uid=0-10\x1fistio-exclude-interfaces=lo\x1fcompat=1.15",
		// Injections: rules, tables and options out of values (reference 10, item 1).
		"istio-inbound-ports=80\nCOMMIT\n*filter\n-A INPUT -j DROP",
		"istio-local-exclude-ports=15090 -j ACCEPT\x1fistio-inbound-ports=*",
		"istio-outbound-ports=80 --dport 81\x1fistio-local-outbound-ports-exclude=53\t-j\tACCEPT",
		"istio-exclude-interfaces=eth0 -j ACCEPT\x1fkube-virt-interfaces=! eth0",
		"proxy-uid=1337 -j DROP\x1fproxy-gid=1337\n-A OUTPUT -j DROP\x1fPROXY_UID=evil,lines",
		"envoy-port=15001\n-A OUTPUT -j DROP\x1finbound-capture-port=15006 --random\x1fINBOUND_TUNNEL_PORT=\"15008\"",
		"istio-service-cidr=10.0.0.0/8 -j ACCEPT,! 10.0.0.0/8\x1fistio-service-exclude-cidr=*",
		"ISTIO_OUTBOUND_OWNER_GROUPS=evil,lines,none\x1fISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.1/32\n",
	} {
		f.Add(seed)
	}
	all := names()
	f.Fuzz(func(t *testing.T, text string) {
		in := input{}
		for entry := range strings.SplitSeq(text, separator) {
			name, value, _ := strings.Cut(entry, "=")
			if !slices.Contains(all, name) {
				sum := 0
				for _, c := range []byte(name) {
					sum += int(c)
				}
				name = all[sum%len(all)]
			}
			in[name] = value
		}
		in.check(t)
	})
}
