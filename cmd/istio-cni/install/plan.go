package install

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/utils"

	"istio-init/cmd/istio-cni/decision"
	"istio-init/cmd/istio-cni/netconf"
)

// leastVersion is the oldest cniVersion of a list in which a plugin gets the result of
// those before it and can pass it on.
const leastVersion = "0.3.0"

// Wanted is what an installation puts on a node.
type Wanted struct {
	Entry  []byte // valid by CheckEntry
	Binary []byte
	Method Method
}

// A Plan is all that a run changes, in order. The node works after each of its steps: pods
// start and stop, and those that started before stay as they are.
type Plan struct {
	Steps    []Step
	Main     string // configuration of the pods that are captured
	Method   Method // that is used; "" for one that takes the plugin away
	Because  string // why it is used
	Warnings []string
}

// ErrNoMain says that no main plugin has written its configuration yet.
var ErrNoMain = errors.New("no valid configuration of a main plugin is there yet")

// A planner makes a plan.
type planner struct {
	Plan
	node Node
	dir  directory
	keep string // file that has our entry
}

func newPlanner(n Node) *planner {
	p := &planner{node: n, dir: directory{readConfs(n.Confs), n.Saved}}
	for _, t := range n.Temps {
		p.add(RemoveFile{Path: t})
	}
	return p
}

func (p *planner) add(steps ...Step) { p.Steps = append(p.Steps, steps...) }

// PlanInstall returns the steps that install the plugin. The binary comes before the entry
// that calls it, and the new entry before the old ones go: rules that are there are not made
// again, so that two entries do no harm.
func PlanInstall(n Node, w Wanted) (Plan, error) {
	p := newPlanner(n)
	if err := p.refuseAmbient(); err != nil {
		return p.Plan, err
	}
	p.putBinary(w.Binary)
	var err error
	if w.Method == Standalone {
		p.Method, p.Because = w.Method, "as asked"
		p.putFile(filepath.Join(n.Dirs.Conf, ownName), standalone(w.Entry), n.Confs)
	} else {
		err = p.join(w)
	}
	if err != nil {
		return p.Plan, err
	}
	p.takeOut()
	return p.Plan, nil
}

// PlanUninstall returns the steps that take the plugin away. The binary is the last: where
// an entry names a binary that is not there, no pod starts and none stops. What stays of it,
// unless it is removed, passes results through.
func PlanUninstall(n Node, binary []byte, removeBinary bool) Plan {
	p := newPlanner(n)
	p.takeOut()
	for _, s := range n.Saved {
		list := p.dir.at(listPath(strings.TrimSuffix(s.Path, savedSuffix)))
		if list == nil || p.dir.origin(*list).saved == nil {
			p.warn("%s stays: the list that was made of it has changed since", s.Path)
		}
	}
	switch {
	case n.Binary == nil:
	case removeBinary:
		p.add(RemoveFile{Path: n.Binary.Path, Temp: n.Dirs.Bin})
	default:
		p.putBinary(passThrough(binary))
	}
	return p.Plan
}

func (p *planner) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

// refuseAmbient returns an error where Istio's plugin serves ambient pods.
func (p *planner) refuseAmbient() error {
	for _, c := range p.dir.confs {
		for _, text := range c.entries() {
			if e, _ := netconf.Parse(text); e.Ambient {
				return fmt.Errorf("%s: %w", c.Path, decision.ErrAmbient)
			}
		}
	}
	return nil
}

// putBinary writes the plugin, unless it is there.
func (p *planner) putBinary(content []byte) {
	const mode = 0o755
	if b := p.node.Binary; b != nil && b.Err == nil && bytes.Equal(b.Content, content) && b.Mode.Perm()&mode == mode && b.Target == b.Path {
		return
	}
	p.add(WriteFile{Path: p.node.Dirs.Binary(), Content: content, Mode: mode, UID: -1, Temp: p.node.Dirs.Bin, Over: true})
}

// putFile writes a configuration that is ours alone, unless it is there.
func (p *planner) putFile(path string, content []byte, files []File) {
	const mode = 0o600
	p.keep = path
	w := WriteFile{Path: path, Content: content, Mode: mode, UID: -1, Temp: p.node.Dirs.Conf}
	for _, f := range files {
		if f.Path == path {
			if bytes.Equal(f.Content, content) {
				return
			}
			w.Was = f.Content
		}
	}
	p.add(w)
}

// join adds the plugin to the configuration of the main plugin.
func (p *planner) join(w Wanted) error {
	main, invalid := p.dir.main()
	for _, c := range invalid {
		p.warn("%s is invalid, and containerd reads no other file while it is there: %v", c.Path, c.err)
	}
	if main == nil {
		return fmt.Errorf("directory %s: %w", p.node.Dirs.Conf, ErrNoMain)
	}
	if !atLeast(main.list.version, leastVersion) {
		return fmt.Errorf("%s: cniVersion %q: want %s or later: before, a plugin has no result to pass on", main.Path, main.list.version, leastVersion)
	}
	var err error
	p.Main = main.Path
	if p.Method, p.Because, err = choose(w.Method, *main, p.dir.origin(*main).saved != nil, p.node.Runtimes); err != nil {
		return err
	}
	switch {
	case p.Method == DropIn:
		return p.dropIn(main.list.name, w.Entry)
	case main.single:
		return p.insertConverted(*main, w.Entry)
	}
	p.keep = main.Path
	p.rewrite(*main, main.list.set(w.Entry))
	return nil
}

// dropIn writes a file that the runtime loads after the plugins of a network's list.
func (p *planner) dropIn(network string, entry []byte) error {
	if err := utils.ValidateNetworkName(network); err != nil {
		return fmt.Errorf("%s: %w", p.Main, err)
	}
	dir := filepath.Join(p.node.Dirs.Conf, network)
	if !slices.Contains(p.node.Nets, dir) {
		p.add(MakeDir{dir})
	}
	p.putFile(filepath.Join(dir, dropInName), indented(entry), p.node.DropIns)
	return nil
}

// insertConverted replaces a configuration of one plugin by a list of it and ours. The new
// file is complete before the old one is set aside.
func (p *planner) insertConverted(main conf, entry []byte) error {
	content := main.list.set(entry)
	p.keep = listPath(main.Path)
	switch have := p.dir.at(p.keep); {
	case have == nil:
		p.add(WriteFile{Path: p.keep, Content: content, Mode: main.Mode, UID: main.UID, GID: main.GID, Temp: p.node.Dirs.Conf})
	case p.dir.origin(*have) == origin{}:
		return fmt.Errorf("%s would become %s, which is there and is another configuration: remove one of them", main.Path, p.keep)
	default:
		p.rewrite(*have, content)
	}
	p.add(MoveFile{main.Path, main.Path + savedSuffix, main.Content})
	return nil
}

// rewrite replaces the content of a configuration, which keeps its mode and owner.
func (p *planner) rewrite(c conf, content []byte) {
	if !bytes.Equal(c.Content, content) {
		p.add(WriteFile{Path: c.Target, Content: content, Mode: c.Mode, UID: c.UID, GID: c.GID, Temp: filepath.Dir(c.Target), Was: c.Content})
	}
}

// takeOut takes our entries out of all files but the one that is kept, and restores what was
// set aside.
func (p *planner) takeOut() {
	kept := p.dir.at(p.keep)
	for _, c := range p.dir.confs {
		switch {
		case c.Path == p.keep, kept != nil && c.Target == kept.Target: // another name of the same file
		case c.hasOurs():
			p.takeOutOf(c)
		}
	}
	for _, f := range p.node.DropIns {
		if f.Path != p.keep {
			p.remove(f)
			p.add(RemoveDir{filepath.Dir(f.Path)})
		}
	}
	for _, c := range p.dir.confs {
		net := filepath.Join(p.node.Dirs.Conf, c.list.name)
		if c.err == nil && slices.Contains(p.node.Empty, net) && filepath.Dir(p.keep) != net {
			p.add(RemoveDir{net})
		}
	}
}

// takeOutOf takes our entries out of one file.
func (p *planner) takeOutOf(c conf) {
	o := p.dir.origin(c)
	var original string // where saved was
	if o.saved != nil {
		original = strings.TrimSuffix(o.saved.Path, savedSuffix)
	}
	switch {
	case c.list.onlyOurs():
		p.remove(c.File)
	case o.saved != nil && p.dir.at(original) == nil:
		p.add(MoveFile{o.saved.Path, original, o.saved.Content})
		p.remove(c.File)
	case o.saved != nil: // its owner has written it again
		p.remove(c.File)
		p.remove(*o.saved)
	case o.live != nil:
		p.remove(c.File)
	default:
		p.rewrite(c, c.list.strip())
	}
}

func (p *planner) remove(f File) {
	p.add(RemoveFile{Path: f.Path, Temp: p.node.Dirs.Conf, Was: f.Content})
}
