package install

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"istio-init/cmd/istio-cni/decision"
	"istio-init/cmd/istio-cni/netconf"
)

// A Status is the truth about a node.
type Status struct {
	Installed bool            `json:"installed"` // the plugin is called for pods that start
	Binary    BinaryStatus    `json:"binary"`
	Main      *MainStatus     `json:"main,omitempty"` // nil: no valid configuration
	Entries   []EntryStatus   `json:"entries"`
	Runtimes  []RuntimeStatus `json:"runtimes"`
	Problems  []Problem       `json:"problems"`
}

// A BinaryStatus tells what is at the path of the plugin.
type BinaryStatus struct {
	Path  string `json:"path"`
	State string `json:"state"` // missing, unreadable, not-executable, passes-through, other or current
}

// The states of a binary.
const (
	binaryMissing       = "missing"
	binaryUnreadable    = "unreadable"
	binaryNotExecutable = "not-executable"
	binaryPassesThrough = "passes-through"
	binaryOther         = "other" // than the program that asks
	binaryCurrent       = "current"
)

// A MainStatus is the configuration that the runtime uses for pods.
type MainStatus struct {
	File       string `json:"file"`
	Network    string `json:"network"`
	CNIVersion string `json:"cniVersion"`
}

// An EntryStatus is an entry of ours.
type EntryStatus struct {
	File       string `json:"file"`
	Method     Method `json:"method"`
	InUse      bool   `json:"in_use"`  // the runtime calls it for pods
	Assumed    bool   `json:"assumed"` // that it is in use: no program says whether the runtime loads drop-in files
	Capability bool   `json:"capability"`
	Ambient    bool   `json:"ambient_enabled"`
	text       []byte
}

// A RuntimeStatus is what the program of a runtime says; an empty string: unknown.
type RuntimeStatus struct {
	File    string `json:"file"`
	Name    string `json:"name"`
	Version string `json:"version"`
	LibCNI  string `json:"libcni"`
	Error   string `json:"error,omitempty"`
}

// String is one line of text.
func (r RuntimeStatus) String() string {
	if r.Error != "" {
		return fmt.Sprintf("%s (%s)", r.File, r.Error)
	}
	known := func(s string) string { return cmp.Or(s, "unknown") }
	return fmt.Sprintf("%s (%s %s, libcni %s)", r.File, known(r.Name), known(r.Version), known(r.LibCNI))
}

// A Problem is what is wrong, and what to do.
type Problem struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// An Expectation is what a status is compared with.
type Expectation struct {
	Binary []byte
	Entry  []byte // nil: any
	Method Method // Standalone: the entry is not in the main configuration
}

// Inspect returns the status of a node.
func Inspect(n Node, want Expectation) Status {
	s := Status{Entries: []EntryStatus{}, Runtimes: []RuntimeStatus{}, Problems: []Problem{}}
	d := directory{readConfs(n.Confs), n.Saved}
	main, invalid := d.main()
	if main != nil {
		s.Main = &MainStatus{main.Path, main.list.name, main.list.version}
	}
	s.readBinary(n, want.Binary)
	s.readEntries(n, d, main, want.Method)
	for _, r := range n.Runtimes {
		s.Runtimes = append(s.Runtimes, r.status())
		if r.passesNoAnnotations() {
			s.problem("runtime-too-old", "%s: %s", r.status(), AnnotationsNeed)
		}
	}
	for _, c := range invalid {
		s.problem("invalid-file", "%s is invalid, and containerd reads no other file while it is there: %v", c.Path, c.err)
	}
	s.leftovers(n, d)
	s.judge(n.Dirs, want)
	return s
}

func (s *Status) problem(code, format string, args ...any) {
	s.Problems = append(s.Problems, Problem{code, fmt.Sprintf(format, args...)})
}

func (s *Status) readBinary(n Node, want []byte) {
	s.Binary.Path = n.Dirs.Binary()
	const execute = 0o111
	switch b := n.Binary; {
	case b == nil:
		s.Binary.State = binaryMissing
	case b.Err != nil:
		s.Binary.State = binaryUnreadable
		s.problem("binary-unreadable", "%s: %v", b.Path, b.Err)
	case b.Mode.Perm()&execute != execute:
		s.Binary.State = binaryNotExecutable
	case bytes.HasSuffix(b.Content, []byte(passThroughMark)):
		s.Binary.State = binaryPassesThrough
	case !bytes.Equal(b.Content, want):
		s.Binary.State = binaryOther
	default:
		s.Binary.State = binaryCurrent
	}
}

// readEntries lists the entries, and which of them are in use.
func (s *Status) readEntries(n Node, d directory, main *conf, method Method) {
	add := func(path string, m Method, used bool, text []byte) {
		e, _ := netconf.Parse(text) // judgeEntry names what is wrong
		assumed := used && m == DropIn && !readsDropIns(n.Runtimes)
		s.Entries = append(s.Entries, EntryStatus{path, m, used, assumed, e.Capable, e.Ambient, text})
	}
	for _, c := range d.confs {
		m, used := Insert, method != Standalone && d.first() != nil && c.Path == d.first().Path
		if c.hasOurs() && c.list.onlyOurs() {
			m, used = Standalone, method == Standalone
		}
		for _, text := range c.entries() {
			add(c.Path, m, used, text)
		}
	}
	for _, f := range n.DropIns {
		if f.Err == nil {
			_, f.Err = kindOf(f.Content)
		}
		if f.Err != nil {
			s.problem("invalid-file", "%s: %v", f.Path, f.Err)
			continue
		}
		used := false
		if main != nil && filepath.Base(filepath.Dir(f.Path)) == main.list.name {
			var why string
			if why, used = dropInNeeds(*main, false, n.Runtimes); !used {
				s.problem("drop-in-not-loaded", "%s: %s", f.Path, why)
			}
		}
		add(f.Path, DropIn, used, f.Content)
	}
}

// leftovers adds what a run that was killed left.
func (s *Status) leftovers(n Node, d directory) {
	for _, t := range n.Temps {
		s.problem("temporary-file", "%s is of a run that did not end; install removes it", t)
	}
	for _, c := range d.confs {
		if live := d.origin(c).live; live != nil {
			s.problem("conversion-unfinished", "%s and %s are both there; install or uninstall completes it", live.Path, c.Path)
		}
	}
}

// judge compares with what is expected.
func (s *Status) judge(dirs Directories, want Expectation) {
	used := 0
	for _, e := range s.Entries {
		s.judgeEntry(e, want.Entry)
		if e.InUse {
			used++
		}
	}
	s.judgeBinary(used)
	switch {
	case s.Main == nil && want.Method != Standalone:
		s.problem("no-configuration", "directory %s: %v", dirs.Conf, ErrNoMain)
	case used == 0 && len(s.Entries) == 0:
		s.problem("not-installed", "no entry calls the plugin; run install")
	case used > 1:
		s.problem("duplicate-entry", "the plugin is called %d times for each pod; install leaves one entry", used)
	}
	if s.Main != nil && used > 0 && !atLeast(s.Main.CNIVersion, leastVersion) {
		s.problem("cni-version", "%s: cniVersion %q: want %s or later", s.Main.File, s.Main.CNIVersion, leastVersion)
	}
	runs := s.Binary.State == binaryCurrent || s.Binary.State == binaryOther
	s.Installed = used > 0 && runs
}

func (s *Status) judgeEntry(e EntryStatus, want []byte) {
	if !e.InUse {
		s.problem("entry-not-in-use", "%s: the runtime does not use this entry", e.File)
	}
	if wrong := wrongValues(e.text); len(wrong) > 0 {
		s.problem("entry-invalid", "%s: %v", e.File, errors.Join(wrong...))
	}
	if !e.Capability {
		s.problem("capability-missing", "%s: %s", e.File, AnnotationsNeed)
	}
	if e.Ambient {
		s.problem("ambient-enabled", "%s: %v", e.File, decision.ErrAmbient)
	}
	if want != nil && e.Method == Standalone {
		want = standalone(want)
	}
	if want != nil && !sameJSON(e.text, want) {
		s.problem("entry-other", "%s: the entry is another one; run install", e.File)
	}
}

func (s *Status) judgeBinary(used int) {
	switch state := s.Binary.State; {
	case used > 0 && (state == binaryMissing || state == binaryNotExecutable):
		s.problem("binary-"+state, "%s is %s, and the runtime calls it: no pod starts, and none stops; run install", s.Binary.Path, strings.ReplaceAll(state, "-", " "))
	case used > 0 && state == binaryPassesThrough:
		s.problem("binary-"+state, "%s only passes results through: pods are not captured; run install", s.Binary.Path)
	case state == binaryOther:
		s.problem("binary-other", "%s is not the binary of this program; run install", s.Binary.Path)
	}
}
