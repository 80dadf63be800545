package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"istio-init/capture/picture"
)

var (
	formEndpoint = form{text: "ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT"}
	formID       = form{text: "an id 0-4294967294 or a name"}
	formLink     = form{text: "the name of an interface"}
	formRules    = form{text: "live, planned, a file in the form of iptables-save, or - for the standard input"}
	formOutput   = choice("", "text", "json")
	formProto    = choice("", "tcp", "udp")
	formState    = choice("", "new", "established", "related", "invalid")
	formMark     = form{text: "a number 0-4294967295, decimal or 0x hexadecimal"}
	formPicture  = choice("", pictureNames()...)
	formPodAddrs = form{text: "a comma list of addresses", list: true}
)

// Options of the commands that answer questions, besides those of the option table.
var (
	rulesOption = &option{
		long: "rules", form: formRules, group: groupQuestion,
		help: "where the rules are taken from; by default live, or planned where flags say which rules are meant",
		set:  path(func(s *settings) *string { return &s.rules }),
	}
	outputOption = &option{
		long: "output", def: "text", form: formOutput, group: groupQuestion,
		help: "form of the answer",
		set:  output,
	}
	traceOptions = []*option{
		{
			long: "to", form: formEndpoint, group: groupQuestion,
			help: "where the connection goes; without an address, to the pod itself",
			set:  endpointValue(func(s *settings) *endpoint { return &s.question.to }),
		},
		{
			long: "from", form: formEndpoint, group: groupQuestion,
			help: "where it comes from; an address that is not the pod's comes from outside",
			set:  endpointValue(func(s *settings) *endpoint { return &s.question.from }),
		},
		{
			long: "uid", form: formID, group: groupQuestion,
			help: "user of the process of the pod that opens it; by default an app, 1000",
			set: ownerValue(func(s *settings) **uint32 { return &s.question.uid }, "user",
				func(s *settings) func(string) (string, error) { return s.accounts.uid }),
		},
		{
			long: "gid", form: formID, group: groupQuestion,
			help: "its group; by default the number of --uid",
			set: ownerValue(func(s *settings) **uint32 { return &s.question.gid }, "group",
				func(s *settings) func(string) (string, error) { return s.accounts.gid }),
		},
		{
			long: "in", form: formLink, group: groupQuestion,
			help: "interface by which it comes from outside",
			set:  linkName(func(s *settings) *string { return &s.question.in }),
		},
		{
			long: "out", form: formLink, group: groupQuestion,
			help: "interface by which it leaves; by default as routed",
			set:  linkName(func(s *settings) *string { return &s.question.out }),
		},
		{
			long: "proto", def: "tcp", form: formProto, group: groupQuestion,
			help: "protocol",
			set:  protocol,
		},
		{
			long: "mark", def: "0", form: formMark, group: groupQuestion,
			help: "mark of its packets",
			set:  packetMark,
		},
		{
			long: "state", def: "new", form: formState, group: groupQuestion,
			help: "what conntrack calls the packet; new is the first one of a connection",
			set:  connectionState,
		},
		{
			long: "pod-address", form: formPodAddrs, group: groupQuestion,
			help: "addresses of the pod, where the rules are not live; by default 192.0.2.2 and 2001:db8::2",
			set:  podAddresses,
		},
		rulesOption,
		outputOption,
	}
	checkOptions   = []*option{rulesOption, outputOption}
	explainOptions = []*option{rulesOption, {
		long: "output", def: picture.Save.String(), form: formPicture, group: groupQuestion,
		help: "form in which the rules are shown",
		set:  pictureForm,
	}}
)

// pictureNames are the names of the forms in which rules are shown.
func pictureNames() []string {
	names := make([]string, len(picture.Formats))
	for i, f := range picture.Formats {
		names[i] = f.String()
	}
	return names
}

// pictureForm takes the form in which rules are shown.
func pictureForm(s *settings, v string) error {
	if v == "svg" {
		return bad(v, "is drawn by graphviz: explain --output dot | dot -Tsvg")
	}
	return text(func(s *settings) textUnmarshaler { return &s.form })(s, v)
}

// An outputForm is the form of an answer.
type outputForm uint8

const (
	outputText outputForm = iota
	outputJSON
)

func output(s *settings, v string) error {
	i := slices.Index([]string{"text", "json"}, v)
	if i < 0 {
		return bad(v, "is not a form of output")
	}
	s.output = outputForm(i)
	return nil
}

// questionOptions are those that mean something where nothing is changed.
func questionOptions(o *option) bool {
	return o.group == groupRules || o.group == groupQuestion || o.group == groupLog || slices.Contains(questionRuns, o.long)
}

// questionRuns are the options of how a command runs that questions have too.
var questionRuns = []string{"network-namespace", "force-iptables-binary", "timeout", "cni-mode"}

func newTrace(p process) *cobra.Command {
	return newRuleCommand(p, &cobra.Command{
		Use:   "trace --to ENDPOINT",
		Short: "tell where a connection lands, and which rule says so",
		Long: `Tell where a connection lands: captured by the proxy, left alone, dropped, or taken
by a rule of others; which rules it meets, which of them decides, and why that rule is
there. Where the proxy takes the connection, the one it opens is followed as well.
Nothing is sent, and nothing is changed.

The rules are those of the network namespace; with flags that describe rules, those
that "apply" would make of them; with --rules those of a file.`,
		Example: `  istio-init trace --uid 1000 --to 10.0.0.5:3306
  istio-init trace --from 10.244.1.1 --to :8080 --in eth0
  istio-init trace --proto udp --to 10.96.0.10:53 -i '*' --redirect-dns --capture-all-dns
  iptables-save | istio-init trace --to 10.0.0.5:443 --rules -`,
	}, questionOptions, runTrace, traceOptions...)
}

func newCheck(p process) *cobra.Command {
	return endsNotLooked(newRuleCommand(p, &cobra.Command{
		Use:   "check",
		Short: "tell what is captured, or whether the rules are those of the flags",
		Long: `Without flags that describe rules: tell what is captured in the network namespace,
and which flags make those rules. With such flags: compare what stands with what
"apply" would make of them, rules, policy routes and the address ::6, in both families
and both variants of iptables. Nothing is changed.

Exit codes: 0 in order, 1 drifted, 2 could not look.`,
		Example: `  istio-init check
  istio-init check -u 1337 -i '*' -b '*' -d 15090,15021,15020
  istio-init check --rules dump.txt`,
	}, questionOptions, runCheck, checkOptions...))
}

func newExplain(p process) *cobra.Command {
	return newRuleCommand(p, &cobra.Command{
		Use:   "explain",
		Short: "show rules as people read them: as a tree, a table or a picture",
		Long: `Show rules and why each is there. The rules are those of the network namespace; with
flags that describe rules, those that "apply" would make of them; with --rules those
of a file. Nothing is changed.

Forms: save is the text of iptables-save; tree and table are for a terminal; json is
for programs; dot (for graphviz) and mermaid are pictures of the way of a packet.`,
		Example: `  istio-init explain --output tree
  istio-init explain --output dot -i '*' -b '*' -d 15090 | dot -Tsvg >rules.svg
  iptables-save | istio-init explain --output table --rules -`,
	}, questionOptions, runExplain, explainOptions...)
}

var errNoTarget = errors.New("--to is missing: it says where the connection goes, as in --to 10.0.0.5:3306, or --to :8080 for the pod itself")
