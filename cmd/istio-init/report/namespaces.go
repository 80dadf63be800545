package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"istio-init/capture"
)

// Namespaces is what is captured in all network namespaces of a machine. Its fields are the
// keys of check --all-namespaces --output json.
type Namespaces struct {
	header
	Namespaces []Namespace `json:"namespaces" jsonschema:"the network namespaces, those with a name first"`
	Hidden     int         `json:"hidden_processes,omitempty" jsonschema:"processes whose network namespace may not be read: there may be more namespaces"`
	Skipped    int         `json:"skipped,omitempty" jsonschema:"namespaces that were found and are too many to be read"`
	Stale      []string    `json:"stale_files,omitempty" jsonschema:"files under /run/netns that are no namespaces"`
}

// A Namespace is one of them.
type Namespace struct {
	Inode     uint64   `json:"inode" jsonschema:"the number by which lsns names it"`
	Files     []string `json:"files,omitempty" jsonschema:"the files that it is bound to"`
	PID       int      `json:"pid,omitempty" jsonschema:"the lowest of its processes; missing: none was seen"`
	Command   string   `json:"command,omitempty" jsonschema:"the name of that process"`
	Processes int      `json:"processes" jsonschema:"how many were seen"`
	Container string   `json:"container_id,omitempty" jsonschema:"by the control group of that process"`
	PodUID    string   `json:"pod_uid,omitempty" jsonschema:"of Kubernetes, by the same"`
	Error     string   `json:"error,omitempty" jsonschema:"why the namespace could not be read, for people; then there is no state"`
	Gone      bool     `json:"gone,omitempty" jsonschema:"the namespace went away before it was read"`
	State     *State   `json:"state,omitempty" jsonschema:"what is captured, as check says it"`
	// Drift is against the flags or, without those, against what was inferred from the rules.
	Drift    *Drift `json:"drift,omitempty" jsonschema:"how the rules of istio differ from those of the flags or, without flags, of state.arguments; missing: there are none, or that is not known"`
	Inferred bool   `json:"inferred,omitempty" jsonschema:"the drift is against the configuration that was inferred from the rules"`
}

// NewNamespaces returns the document of namespaces.
func NewNamespaces(namespaces []Namespace) *Namespaces {
	return &Namespaces{header: newHeader(kindNamespaces), Namespaces: namespaces}
}

// Drifts reports whether rules of a namespace differ.
func (n *Namespaces) Drifts() bool {
	return slices.ContainsFunc(n.Namespaces, func(n Namespace) bool { return n.Drift != nil && !n.Drift.InOrder })
}

// Unknown reports whether a namespace could not be read.
func (n *Namespaces) Unknown() bool {
	return n.Skipped > 0 || slices.ContainsFunc(n.Namespaces, func(n Namespace) bool {
		return n.Error != "" && !n.Gone || n.State != nil && n.State.Unknown()
	})
}

func (n *Namespaces) document() any { return n }

// Widths of the columns that are cut.
const (
	nameWidth    = 28
	processWidth = 24
)

func (n *Namespaces) text(s Styler) string {
	rows := [][]string{{"NAMESPACE", "PROCESS", "CAPTURED", "BY", "BACKEND", "DRIFT"}}
	for i := range n.Namespaces {
		rows = append(rows, n.Namespaces[i].row())
	}
	var widths [6]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for i, row := range rows {
		line, colour := "", ""
		for j, cell := range row {
			line += cell + strings.Repeat(" ", widths[j]-len([]rune(cell))+2)
		}
		if i == 0 {
			colour = bold
		} else if at := n.Namespaces[i-1]; at.Error != "" {
			colour = yellow
		} else if at.Drift != nil && !at.Drift.InOrder || at.State.Result == resultBroken {
			colour = red
		}
		b.WriteString(s.in(colour, strings.TrimRight(strings.Map(shown, line), " ")) + "\n")
	}
	n.writeRemarks(&b, s)
	return b.String()
}

// writeRemarks writes what a line has no room for.
func (n *Namespaces) writeRemarks(b *strings.Builder, s Styler) {
	for _, at := range n.Namespaces {
		switch name := at.name(); {
		case at.Error != "":
			b.WriteString(s.lines(yellow, name+": not read: "+at.Error, "", "  "))
		default:
			for _, p := range at.State.Problems {
				b.WriteString(s.lines(red, name+": problem: "+p, "", "  "))
			}
		}
	}
	if n.Skipped > 0 {
		writeCaveats(b, s, []string{fmt.Sprintf("%d more network namespaces were not read", n.Skipped)})
	}
	if n.Hidden > 0 {
		writeCaveats(b, s, []string{fmt.Sprintf("%d process(es) may not be asked for their network namespace: run it as root of the machine", n.Hidden)})
	}
	if len(n.Stale) > 0 {
		writeNotes(b, s, []string{"no network namespaces: " + strings.Join(n.Stale, ", ")})
	}
}

// name is the name of the file under /run/netns, or else the inode.
func (n *Namespace) name() string {
	if len(n.Files) > 0 {
		return strings.TrimPrefix(strings.TrimPrefix(n.Files[0], "/var"), "/run/netns/")
	}
	return "net:[" + strconv.FormatUint(n.Inode, 10) + "]"
}

// row returns the line of a namespace.
func (n *Namespace) row() []string {
	process := "-"
	if n.PID != 0 {
		process = fmt.Sprintf("%d %s", n.PID, n.Command)
	}
	row := []string{shortened(n.name(), nameWidth), shortened(process, processWidth)}
	if n.State == nil {
		how := "unknown"
		if n.Gone {
			how = "gone"
		}
		return append(row, how, "-", "-", "-")
	}
	by := "-"
	if names := n.State.capturers(); len(names) > 0 {
		by = strings.Join(names, "+")
	}
	backend := "-"
	if n.State.Result != resultNotCaptured || n.State.Captures {
		backend = string(n.State.Backend)
	}
	return append(row, n.State.how(), by, backend, n.drift())
}

// how says in a word or two how connections are captured.
func (s *State) how() string {
	var how []string
	switch s.Result {
	case resultNotCaptured:
		return "none"
	case resultBroken, resultUnknown:
		return string(s.Result)
	case resultCaptured:
		if s.Captured.Inbound || s.Captured.Outbound {
			how = append(how, s.config.Mode.String())
		}
		if s.Captured.DNS {
			how = append(how, "DNS")
		}
	case resultAmbient, resultForeign:
		for _, r := range s.Redirects {
			word := capture.Redirect.String()
			if r.Of == wayDNS {
				word = "DNS"
			}
			if !slices.Contains(how, word) {
				how = append(how, word)
			}
		}
		slices.SortFunc(how, func(a, b string) int { return len(b) - len(a) }) // DNS last
	}
	if len(how) == 0 {
		return string(s.Result)
	}
	return strings.Join(how, "+")
}

// capturers returns the names of those whose rules redirect connections.
func (s *State) capturers() (names []string) {
	for _, by := range s.CapturedBy {
		switch by {
		case ours:
			names = append(names, "Istio")
		case meshes[0]:
			names = append(names, "unknown")
		default:
			for i, known := range meshes {
				if known == by {
					names = append(names, meshTitle(i))
				}
			}
		}
	}
	return names
}

// drift says in a few words how rules differ.
func (n *Namespace) drift() string {
	switch {
	case !n.State.Captures:
		return "-"
	case n.Drift == nil:
		return "not known"
	}
	of := "none"
	if g := n.State.config.Generation; n.Inferred && g != capture.Current {
		of = "none (Istio " + g.String() + ")"
	}
	if n.Drift.InOrder {
		return of
	}
	counts := map[lineOp]int{}
	for _, f := range n.Drift.Families {
		for _, l := range f.Lines {
			counts[l.Op]++
		}
	}
	var texts []string
	for _, op := range []lineOp{opMissing, opUnexpected} {
		if counts[op] > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", counts[op], op))
		}
	}
	if others := len(n.Drift.Differences); others > 0 {
		texts = append(texts, fmt.Sprintf("%d other", others))
	}
	return strings.Join(texts, ", ")
}

// shortened cuts the middle out of a text.
func shortened(text string, most int) string {
	const gap = "..."
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	end := (most - len(gap)) / 2
	return string(runes[:most-len(gap)-end]) + gap + string(runes[len(runes)-end:])
}
