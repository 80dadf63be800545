package iptables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"istio-init/netutil/inet"
)

// ParseRule reads a rule in the form of iptables-save, without "-A CHAIN ". It
// is the inverse of [Rule.Text]: it takes what the types can say in the
// canonical form and nothing else, so a rule it returns prints as it was. The
// error names the word that is not known.
func ParseRule(f inet.Family, text string) (Rule, error) {
	p := ruleParser{words: strings.Fields(text)}
	for len(p.words) > 0 && p.err == nil {
		p.option()
	}
	if p.err == nil && p.rule.Text(f) != text {
		p.err = errors.New("not in the form that iptables-save prints")
	}
	if p.err == nil {
		p.err = p.rule.validate(f)
	}
	if p.err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", text, p.err)
	}
	return p.rule, nil
}

// A ruleParser takes the words of a rule from the left; the first error stays.
type ruleParser struct {
	words  []string
	neg    bool   // the last word was "!"
	module string // of the last -m
	rule   Rule
	err    error
}

// value takes the next word; "" when there is none, which is no value of any option.
func (p *ruleParser) value() string {
	if len(p.words) == 0 {
		p.fail(errors.New("ends too early"))
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *ruleParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// condition takes the value of an option and sets the field for it, with the
// negation that stood before.
func condition[T any](p *ruleParser, field *Cond[T], parse func(string) (T, error)) {
	word := p.value()
	v, err := parse(word)
	if err != nil {
		p.fail(fmt.Errorf("%q: %w", word, err))
	}
	if field.Set {
		p.fail(fmt.Errorf("%q: a second condition of the kind", word))
	}
	*field = Cond[T]{Val: v, Neg: p.neg, Set: true}
	p.neg = false
}

func (p *ruleParser) option() {
	m := &p.rule.Match
	switch word := p.value(); word {
	case "!":
		p.neg = true
	case "-s":
		condition(p, &m.Src, netip.ParsePrefix)
	case "-d":
		condition(p, &m.Dst, netip.ParsePrefix)
	case "-i":
		condition(p, &m.In, parseText[Interface])
	case "-o":
		condition(p, &m.Out, parseText[Interface])
	case "-p":
		p.proto()
	case "-m":
		p.module = p.value()
	case "-j":
		p.target()
	case "-g":
		p.rule.Target = Goto{Chain: p.chainName(p.value())}
		p.end()
	default:
		p.moduleOption(word)
	}
}

// moduleOption reads an option of the module that the last -m named.
func (p *ruleParser) moduleOption(word string) {
	m := &p.rule.Match
	switch p.module + " " + word {
	case "tcp --sport", "udp --sport":
		condition(p, &m.SPort, parsePorts)
	case "tcp --dport", "udp --dport":
		condition(p, &m.DPort, parsePorts)
	case "tcp --tcp-flags":
		condition(p, &m.SYN, p.syn)
	case "multiport --dports":
		condition(p, &m.DPorts, parsePortList)
	case "mark --mark":
		condition(p, &m.Mark, parseMark)
	case "connmark --mark":
		condition(p, &m.ConnMark, parseMark)
	case "conntrack --ctstate", "state --state": // the second is never printed of ours
		condition(p, &m.State, parseStates)
	case "owner --uid-owner":
		m.UIDs = append(m.UIDs, Cond[IDRange]{})
		condition(p, &m.UIDs[len(m.UIDs)-1], parseText[IDRange])
	case "owner --gid-owner":
		m.GIDs = append(m.GIDs, Cond[IDRange]{})
		condition(p, &m.GIDs[len(m.GIDs)-1], parseText[IDRange])
	default:
		p.fail(fmt.Errorf("%q is not known", word))
	}
}

func (p *ruleParser) proto() {
	word := p.value()
	for _, known := range []Proto{TCP, UDP} {
		if word == known.String() && !p.neg {
			p.rule.Proto = known
			return
		}
	}
	p.fail(fmt.Errorf("protocol %q is not known", word))
}

// syn reads the two words in which --syn is printed.
func (p *ruleParser) syn(mask string) (bool, error) {
	if mask != "FIN,SYN,RST,ACK" || p.value() != "SYN" {
		return false, errors.New("only --syn is known of the TCP flags")
	}
	return true, nil
}

func (p *ruleParser) target() {
	switch name := p.value(); name {
	case "RETURN":
		p.rule.Target = Return
	case "ACCEPT":
		p.rule.Target = Accept
	case "DROP":
		p.rule.Target = Drop
	case "REDIRECT":
		p.rule.Target = Redirect{Port: p.port("--to-ports")}
	case "TPROXY":
		t := TProxy{Port: p.port("--on-port")}
		p.after("--on-ip")
		t.Mark = p.mark("--tproxy-mark")
		p.rule.Target = t
	case "MARK":
		p.rule.Target = SetMark{Mark: p.mark("--set-xmark")}
	case "CONNMARK":
		p.connmark()
	case "CT":
		p.zone()
	default:
		p.rule.Target = Jump{Chain: p.chainName(name)}
	}
	p.end()
}

// chainName refuses what iptables would not read as one word.
func (p *ruleParser) chainName(name string) string {
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		p.fail(fmt.Errorf("%q is not the name of a chain", name))
	}
	return name
}

// end refuses words behind the last option.
func (p *ruleParser) end() {
	if len(p.words) > 0 {
		p.fail(fmt.Errorf("%q is not known", p.words[0]))
	}
}

func (p *ruleParser) connmark() {
	switch verb := p.value(); verb {
	case "--save-mark":
		p.rule.Target = SaveMark{}
	case "--restore-mark":
		p.rule.Target = RestoreMark{}
	default:
		p.fail(fmt.Errorf("%q is not known", verb))
	}
	for _, option := range []string{"--nfmask", "--ctmask"} {
		if mask := p.after(option); mask != "0xffffffff" {
			p.fail(fmt.Errorf("%q is not the mask of all bits", mask))
		}
	}
}

func (p *ruleParser) zone() {
	option := p.value()
	if option != "--zone" && option != "--zone-orig" {
		p.fail(fmt.Errorf("%q is not known", option))
	}
	p.rule.Target = Zone{ID: p.uint16(p.value()), Original: option == "--zone-orig"}
}

// after takes an option of that name and returns its value.
func (p *ruleParser) after(option string) string {
	if word := p.value(); word != option {
		p.fail(fmt.Errorf("%q is not known", word))
	}
	return p.value()
}

func (p *ruleParser) port(option string) uint16 { return p.uint16(p.after(option)) }

func (p *ruleParser) uint16(word string) uint16 {
	n, err := parseNumber(word, 16)
	if err != nil {
		p.fail(fmt.Errorf("%q is not a number up to 65535", word))
	}
	return uint16(n)
}

func (p *ruleParser) mark(option string) Mark {
	m, err := parseMark(p.after(option))
	if err != nil {
		p.fail(err)
	}
	return m
}

// parseText makes a parser of a type that reads its own text.
func parseText[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](s string) (v T, err error) {
	err = P(&v).UnmarshalText([]byte(s))
	return v, err
}

func parsePorts(s string) (PortRange, error) {
	lo, hi, err := parseRange(s, ":", 0, 65535, 16)
	return PortRange{uint16(lo), uint16(hi)}, err
}

func parsePortList(s string) ([]PortRange, error) {
	var list []PortRange
	for item := range strings.SplitSeq(s, ",") {
		r, err := parsePorts(item)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func parseMark(s string) (Mark, error) {
	value, mask, masked := strings.Cut(s, "/")
	m := FullMark(0)
	v, err := strconv.ParseUint(value, 0, 32)
	if err == nil && masked {
		var bits uint64
		bits, err = strconv.ParseUint(mask, 0, 32)
		m.Mask = uint32(bits)
	}
	if err != nil {
		return Mark{}, fmt.Errorf("%q is not a mark", s)
	}
	m.Value = uint32(v)
	return m, nil
}

func parseStates(s string) (States, error) {
	var states States
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(stateNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("state %q is not known", name)
		}
		states |= 1 << i
	}
	return states, nil
}
