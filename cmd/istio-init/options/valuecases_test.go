package options

import "testing"

// valueCases are values of a form, and whether they are right.
type valueCases struct {
	texts []string // three that are right, as a flag has them
	yaml  []string // more that are right, as a configuration file has them
	bad   []string // that are wrong, as a configuration file has them
}

// neverRight are values of a configuration file that no option takes.
var neverRight = []string{"", "~", "null", "{a: b}", "{}", "[[80]]", "[{a: b}]", "[~]", `"a\0b"`}

// notLists are lists, which most options do not take.
var notLists = []string{"[]", "[1]", "[a, b]"}

var (
	portCases = valueCases{
		texts: []string{"80", " 443 ", "80-80"},
		yaml:  []string{"15001", `"80"`, "65535"},
		bad:   []string{"0", "65536", "80a", `""`, "80-90", "-1", "1.5", "1e3", "0x50", "0o17", "0177", "1_000", "true", "'80,443'", "http", ".inf", "'80:'", "':80'"},
	}
	portsCases = valueCases{
		texts: []string{"80", "80,443,8000-8010,1024:,:1024", " 1 ,, http "},
		yaml:  []string{"80", `""`, "[]", "[80]", `["80", 443, 8000-8010]`, `[" 80 ", ""]`, "[1000-2000]", "[https, 80]", "':1024'", "8000-"},
		bad:   []string{"0", "65536", "80a", "[80a]", "no-such-service", "zero", "http:https", "'*:'", "'-80'", `["80,443"]`, "true", "[true]", "-80", "'80 443'", "1.5", "90-80"},
	}
	cidrsCases = valueCases{
		texts: []string{"10.0.0.0/8", "10.0.0.0/8,2001:db8::/32", " ::ffff:10.0.0.0/104, "},
		yaml:  []string{`""`, "[]", "[10.0.0.0/8, '2001:db8::/32']", `[""]`},
		bad:   []string{"10.0.0.1", "10.0.0.0/33", "[10.0.0.0/8, 10]", "10", "true", "['10.0.0.0/8,11.0.0.0/8']", "fe80::1%eth0/64"},
	}
	idsCases = valueCases{
		texts: []string{"1337", "0,1000-2000,root", " istio-proxy , "},
		yaml:  []string{"0", "4294967294", "[1337, root, 1000-2000]", "[]", `""`},
		bad:   []string{"4294967295", "-1", "[-1]", "true", "['0,1']", "nobody-has-this-name", "'a b'", "-b"},
	}
	durationCases = valueCases{
		texts: []string{"5s", "1m30s", " 1.5h "},
		yaml:  []string{"100ms", "+5s", ".5s"},
		bad:   []string{"5", "0", "-5s", "0s", `""`, "true", "5 s", "s5"},
	}
	levelCases = valueCases{
		texts: []string{"debug", "default:warn", "all:error, x:none"},
		bad:   []string{"loud", `""`, "true", "5", "'default: info'", "debug;info"},
	}
	pathCases = valueCases{
		texts: []string{"/tmp/x", "some name", "x"},
		yaml:  []string{"4711", `""`, "1.5"},
		bad:   []string{"true", `"a\nb"`},
	}
)

// casesByForm are the cases by what a form says of itself; for an option that
// takes less there are cases by its key.
var casesByForm = map[string]valueCases{
	formBool.text: {
		texts: []string{"false", "0", "F"},
		yaml:  []string{"true", "True", "'1'", "1", "'FALSE'", "t"},
		bad:   []string{"yes", "on", "2", `""`, "maybe", "1.0", "tRUE"},
	},
	formPort.text:     portCases,
	formPorts.text:    portsCases,
	formAllPorts.text: portsCases.and("'*'", "' * '", "['*']"),
	formCIDRs.text:    cidrsCases,
	formAllCIDRs.text: cidrsCases.and("'*'", "['*']"),
	formIDs.text:      idsCases,
	formAllGroups.text: {
		texts: idsCases.texts,
		yaml:  append([]string{"'*'"}, idsCases.yaml...),
		bad:   append([]string{"'*,0'"}, idsCases.bad...),
	},
	formLinks.text: {
		texts: []string{"eth0", "net+,eth1", " lo , "},
		yaml:  []string{"[eth0, net+]", "[]", "4711", `""`, "1.5"},
		bad:   []string{"sixteen-bytes-ab", "a/b", "true", "['a,b']", "'*'", "'!eth0'", "..."[:2], "e:h", "net1@if7"},
	},
	formNumber.text: {
		texts: []string{"1000", "0x100", " 7 "},
		yaml:  []string{"1338", "0x20", "4294967295"},
		bad:   []string{"0", "4294967296", "-1", "1.5", `""`, "0x", "true", "1_000"},
	},
	formMode.text: {
		texts: []string{"REDIRECT", "TPROXY", "NONE"},
		yaml:  []string{"tproxy", `""`, "' none '"},
		bad:   []string{"TPROXI", "1", "true", "REDIRECT,NONE"},
	},
	formFamilies.text: {
		texts: []string{"auto", "ipv4", "dual"},
		bad:   []string{"both", `""`, "4", "true", "' dual '", "AUTO"},
	},
	formGeneration.text: {
		texts: []string{"current", "1.15", "1.0"},
		yaml:  []string{"1.15", "1.0", "'1.0'", "' 1.15 '"},
		bad:   []string{"1", "1.150", "1.16", "115", `""`, "true"},
	},
	formVariant.text: {
		texts: []string{"nft", "legacy", " nft "},
		yaml:  []string{`""`},
		bad:   []string{"NFT", "1", "true"},
	},
	formLoopback.text: {
		texts: []string{"127.0.0.1/32", "127.0.0.0/8", " 127.1.2.3/16 "},
		bad:   []string{"10.0.0.0/8", "127.0.0.0/7", "127.0.0.1", `""`, "::1/128", "127", "true"},
	},
	formUser.text: {
		texts: []string{"root", "nobody-has-this-name", "high"},
		yaml:  []string{"1000", `""`},
		bad:   []string{"true", `"a\tb"`},
	},
	formScopes.text: {
		texts: []string{"default", "all,x", "y"},
		yaml:  []string{"[default, all]", `""`, "[]", "5"},
		bad:   []string{"true", "['a,b']", "[[a]]"},
	},
	formDuration.text:  durationCases,
	formWait.text:      durationCases,
	formLevel.text:     levelCases,
	formPath.text:      pathCases,
	formNetNS.text:     pathCases,
	formLogTarget.text: pathCases,
}

// casesByKey are the cases of options that take less than their form has.
var casesByKey = map[string]valueCases{
	"istio-inbound-tproxy-route-table": {
		texts: []string{"133", "0x100", "252"},
		bad:   []string{"253", "254", "255", "0xfe"},
	},
}

// and are the cases with more that are right.
func (c valueCases) and(yaml ...string) valueCases {
	c.yaml = append(yaml, c.yaml...)
	return c
}

// cases returns the cases of an option. One of a new form needs new ones.
func (o *option) cases(t *testing.T) valueCases {
	t.Helper()
	if c, ok := casesByKey[o.key()]; ok {
		return c
	}
	c, ok := casesByForm[o.form.text]
	if !ok {
		t.Fatalf("valuecases_test.go has no values for what is %s", o.form.text)
	}
	return c
}

// fileOptions are those that a configuration file may have and that mean
// something.
func fileOptions() []*option {
	var all []*option
	for _, o := range options {
		if o.group != groupInput && o.group != groupRemoved {
			all = append(all, o)
		}
	}
	return all
}
