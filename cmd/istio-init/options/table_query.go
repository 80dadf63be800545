package options

import (
	"slices"

	"github.com/spf13/pflag"

	"istio-init/capture/picture"
)

var (
	formEndpoint = form{text: "ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT or :PORT, as in 10.0.0.5:443 (ports are 1-65535)"}
	formID       = form{text: "an id (0-4294967294) or a name"}
	formLink     = form{text: "an interface name"}
	formRules    = form{text: "live, planned, a file with the output of iptables-save, or - for standard input"}
	formOutput   = choice("", "text", "json")
	formProto    = choice("", "tcp", "udp")
	formState    = choice("", "new", "established", "related", "invalid")
	formMark     = form{text: "a number (0-4294967295), decimal or 0x hexadecimal"}
	formPicture  = choice("", pictureNames()...)
	formPodAddrs = form{text: "a comma-separated list of addresses", list: true}
)

// Options of trace, check and explain, besides those of the option table.
var (
	rulesOption = &option{
		long: "rules", form: formRules, group: groupQuestion,
		also: "file dump input rules-file iptables-save",
		help: "which rules: by default live ones, or planned ones if flags describe rules",
		set:  path(func(s *Parsed) *string { return &s.Rules }),
	}
	outputOption = &option{
		long: "output", def: "text", form: formOutput, group: groupQuestion,
		also: "json format yaml",
		help: "format of the answer",
		set:  output,
	}
	traceOptions = []*option{
		{
			long: "to", form: formEndpoint, group: groupQuestion,
			also: "dst dest destination target address",
			help: "destination of the connection; without an address, the pod itself",
			set:  endpointValue(func(s *Parsed) *Endpoint { return &s.Query.To }),
		},
		{
			long: "from", form: formEndpoint, group: groupQuestion,
			also: "src source client",
			help: "source of the connection; an address that is not the pod's makes it inbound",
			set:  endpointValue(func(s *Parsed) *Endpoint { return &s.Query.From }),
		},
		{
			long: "uid", form: formID, group: groupQuestion,
			also: "user owner",
			help: "user of the process in the pod that opens it; by default 1000, an app",
			set: ownerValue(func(s *Parsed) **uint32 { return &s.Query.UID }, "user",
				func(s *Parsed) func(string) (string, error) { return s.names.uid }),
		},
		{
			long: "gid", form: formID, group: groupQuestion,
			also: "group",
			help: "group of that process; by default the number of --uid",
			set: ownerValue(func(s *Parsed) **uint32 { return &s.Query.GID }, "group",
				func(s *Parsed) func(string) (string, error) { return s.names.gid }),
		},
		{
			long: "in", form: formLink, group: groupQuestion,
			also: "iface interface in-interface device",
			help: "interface through which an inbound connection arrives",
			set:  linkName(func(s *Parsed) *string { return &s.Query.In }),
		},
		{
			long: "out", form: formLink, group: groupQuestion,
			also: "out-interface oif",
			help: "interface through which an outbound connection leaves; by default as routed",
			set:  linkName(func(s *Parsed) *string { return &s.Query.Out }),
		},
		{
			long: "proto", def: "tcp", form: formProto, group: groupQuestion,
			also: "protocol udp tcp",
			help: "transport protocol",
			set:  protocol,
		},
		{
			long: "mark", def: "0", form: formMark, group: groupQuestion,
			also: "fwmark",
			help: "mark of its packets",
			set:  packetMark,
		},
		{
			long: "state", def: "new", form: formState, group: groupQuestion,
			also: "ctstate",
			help: "conntrack state of the packet; new is the first packet of a connection",
			set:  connectionState,
		},
		{
			long: "pod-address", form: formPodAddrs, group: groupQuestion,
			help: "addresses of the pod, for rules that are not live; by default 192.0.2.2 and 2001:db8::2",
			set:  podAddresses,
		},
		rulesOption,
		outputOption,
	}
	checkOptions = []*option{rulesOption, outputOption, {
		long: "all-namespaces", def: "false", form: formBool, boolean: true, group: groupQuestion,
		help: "check every network namespace of the machine, one a line",
		set:  flag(func(s *Parsed) *bool { return &s.AllNamespaces }),
	}}
	explainOptions = []*option{rulesOption, {
		long: "output", def: picture.Save.String(), form: formPicture, group: groupQuestion,
		help: "format in which the rules are shown",
		also: "json format yaml",
		set:  pictureFormat,
	}}
)

// pictureNames returns the names of the formats in which rules are shown.
func pictureNames() []string {
	names := make([]string, len(picture.Formats))
	for i, f := range picture.Formats {
		names[i] = f.String()
	}
	return names
}

// pictureFormat parses the format in which rules are shown.
func pictureFormat(s *Parsed, v string) error {
	if v == "svg" {
		return valueError(v, "is drawn by graphviz: explain --output dot | dot -Tsvg")
	}
	return text(func(s *Parsed) textUnmarshaler { return &s.Picture })(s, v)
}

// An Output is the format of an answer.
type Output uint8

// The formats of an answer.
const (
	Text Output = iota
	JSON
)

// DefineOutput gives a command without other options the flag for the format of its answer,
// and returns the function that parses it.
func DefineOutput(flags *pflag.FlagSet) func() (Output, error) {
	value := defineFlags(flags, []*option{outputOption}, func(*option) bool { return true })[0]
	return func() (Output, error) {
		var s Parsed
		given := value.given(func(string) (string, bool) { return "", false }, &s)
		if err := output(&s, given.text); err != nil {
			return Text, given.invalid(err)
		}
		return s.Output, nil
	}
}

func output(s *Parsed, v string) error {
	i := slices.Index([]string{"text", "json"}, v)
	if i < 0 {
		return valueError(v, "")
	}
	s.Output = Output(i)
	return nil
}
