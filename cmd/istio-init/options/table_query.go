package options

import (
	"slices"

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
		set:  path(func(s *Parsed) *string { return &s.Rules }),
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
			set:  endpointValue(func(s *Parsed) *Endpoint { return &s.Query.To }),
		},
		{
			long: "from", form: formEndpoint, group: groupQuestion,
			help: "where it comes from; an address that is not the pod's comes from outside",
			set:  endpointValue(func(s *Parsed) *Endpoint { return &s.Query.From }),
		},
		{
			long: "uid", form: formID, group: groupQuestion,
			help: "user of the process of the pod that opens it; by default an app, 1000",
			set: ownerValue(func(s *Parsed) **uint32 { return &s.Query.UID }, "user",
				func(s *Parsed) func(string) (string, error) { return s.accounts.uid }),
		},
		{
			long: "gid", form: formID, group: groupQuestion,
			help: "its group; by default the number of --uid",
			set: ownerValue(func(s *Parsed) **uint32 { return &s.Query.GID }, "group",
				func(s *Parsed) func(string) (string, error) { return s.accounts.gid }),
		},
		{
			long: "in", form: formLink, group: groupQuestion,
			help: "interface by which it comes from outside",
			set:  linkName(func(s *Parsed) *string { return &s.Query.In }),
		},
		{
			long: "out", form: formLink, group: groupQuestion,
			help: "interface by which it leaves; by default as routed",
			set:  linkName(func(s *Parsed) *string { return &s.Query.Out }),
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
		set:  pictureFormat,
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

// pictureFormat takes the format in which rules are shown.
func pictureFormat(s *Parsed, v string) error {
	if v == "svg" {
		return bad(v, "is drawn by graphviz: explain --output dot | dot -Tsvg")
	}
	return text(func(s *Parsed) textUnmarshaler { return &s.Picture })(s, v)
}

// An Output is the form of an answer.
type Output uint8

// The forms of an answer.
const (
	Text Output = iota
	JSON
)

func output(s *Parsed, v string) error {
	i := slices.Index([]string{"text", "json"}, v)
	if i < 0 {
		return bad(v, "is not a form of output")
	}
	s.Output = Output(i)
	return nil
}
