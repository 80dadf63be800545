package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands returns the commands install, uninstall and status.
func Commands() []*cobra.Command {
	return []*cobra.Command{newInstall(), newUninstall(), newStatus()}
}

// nodeFlags are the flags that say where a node has what.
type nodeFlags struct {
	platform, prefix, bin, conf string
	runtimes                    []string
}

func (f *nodeFlags) define(flags *pflag.FlagSet) {
	flags.StringVar(&f.platform, "platform", "default", "directories and method of a platform: "+strings.Join(platformNames(), ", "))
	flags.StringVar(&f.prefix, "host-prefix", "", "directory where the node's file system is mounted, in front of the platform's directories")
	flags.StringVar(&f.bin, "cni-bin-dir", "", "directory of plugins, instead of the platform's")
	flags.StringVar(&f.conf, "cni-conf-dir", "", "directory of network configurations, instead of the platform's")
	flags.StringSliceVar(&f.runtimes, "runtime-binary", nil, "program of the container runtime, read for its releases, instead of the platform's; repeatable")
}

// target returns what the flags mean, and the method of the platform.
func (f *nodeFlags) target() (Target, Method, error) {
	p, err := parsePlatform(f.platform)
	if err != nil {
		return Target{}, "", fmt.Errorf("--platform: %w", err)
	}
	p = p.below(f.prefix)
	if f.bin != "" {
		p.dirs.Bin = f.bin
	}
	if f.conf != "" {
		p.dirs.Conf = f.conf
	}
	if f.runtimes != nil {
		p.runtimes = f.runtimes
	}
	return Target{p.dirs, p.runtimes}, p.method, nil
}

// entryFlags are the flags of what is installed.
type entryFlags struct {
	method, netconf string
}

func (f *entryFlags) define(flags *pflag.FlagSet) {
	flags.StringVar(&f.method, "method", "", "how the entry is added: auto, drop-in, insert or standalone, instead of the platform's")
	flags.StringVar(&f.netconf, "netconf", "", `JSON file with the entry; by default it excludes istio-system and kube-system`)
}

// parse returns the method and the entry.
func (f *entryFlags) parse(m Method) (Method, []byte, error) {
	var err error
	if f.method != "" {
		if m, err = ParseMethod(f.method); err != nil {
			return m, nil, fmt.Errorf("--method: %w", err)
		}
	}
	text := []byte(DefaultEntry)
	if f.netconf != "" {
		if text, err = os.ReadFile(f.netconf); err != nil {
			return m, nil, fmt.Errorf("--netconf: %w", err)
		}
	}
	if err := CheckEntry(text); err != nil {
		return m, nil, fmt.Errorf("--netconf %s: %w", f.netconf, err)
	}
	return m, text, nil
}

func newInstall() *cobra.Command {
	var node nodeFlags
	var what entryFlags
	var watch, dryRun bool
	c := &cobra.Command{
		Use:   "install",
		Short: "install the plugin and its entry on a node",
		Long: `install writes this program to the runtime's directory of plugins, and then adds an entry
to the network configuration, so that the runtime calls it for pods. All entries of Istio's
plugin are replaced. It writes only what is not as it should be.

With --watch it stays, and repairs what other programs change. A signal ends it and removes
nothing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			target, m, err := node.target()
			if err != nil {
				return err
			}
			w := Wanted{}
			if w.Method, w.Entry, err = what.parse(m); err != nil {
				return err
			}
			if w.Binary, err = ownBinary(); err != nil {
				return err
			}
			r := runner{target: target, stderr: c.ErrOrStderr()}
			r.log("info", AnnotationsNeed)
			plan := func(n Node) (Plan, error) { return PlanInstall(n, w) }
			switch {
			case dryRun:
				return r.print(c.Context(), c.OutOrStdout(), plan)
			case watch:
				return r.watch(c.Context(), plan)
			}
			_, err = r.run(c.Context(), plan)
			return err
		},
	}
	node.define(c.Flags())
	what.define(c.Flags())
	c.Flags().BoolVar(&watch, "watch", false, "stay and repair what other programs change")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print the steps and change nothing")
	c.MarkFlagsMutuallyExclusive("watch", "dry-run")
	return c
}

func newUninstall() *cobra.Command {
	var node nodeFlags
	var remove, dryRun, wait bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "remove the plugin's entry from a node",
		Long: `uninstall removes the entry from all network configurations and restores what was set aside.
Then it replaces the plugin by one that passes results through: a runtime may call it for
pods that started before. --remove-binary removes it, which is safe when no pod is left that
started before the entry was removed, as after a restart of the node.

An "install --watch" that still runs would add the entry again: end it first.

With --wait it stays until a signal ends it, as the container of a DaemonSet has to.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			target, _, err := node.target()
			if err != nil {
				return err
			}
			binary, err := ownBinary()
			if err != nil {
				return err
			}
			r := runner{target: target, stderr: c.ErrOrStderr()}
			plan := func(n Node) (Plan, error) { return PlanUninstall(n, binary, remove), nil }
			if dryRun {
				return r.print(c.Context(), c.OutOrStdout(), plan)
			}
			if _, err = r.run(c.Context(), plan); err == nil && wait {
				<-c.Context().Done()
			}
			return err
		},
	}
	node.define(c.Flags())
	c.Flags().BoolVar(&remove, "remove-binary", false, "remove the binary instead of leaving one that passes results through")
	c.Flags().BoolVar(&wait, "wait", false, "stay when it is done, until a signal ends it")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print the steps and change nothing")
	c.MarkFlagsMutuallyExclusive("wait", "dry-run")
	return c
}

// A runner runs plans and tells what it does.
type runner struct {
	target Target
	stderr io.Writer
	said   map[string]bool // since the last change; nil: all is said each time
}

func (r runner) log(level, text string) {
	if !r.said[text] {
		_, _ = fmt.Fprintf(r.stderr, "%s: %s\n", level, text)
	}
}

// logOnce logs what stays true for the next run.
func (r runner) logOnce(level, text string) {
	r.log(level, text)
	if r.said != nil {
		r.said[text] = true
	}
}

// print prints the steps of a plan.
func (r runner) print(ctx context.Context, to io.Writer, plan func(Node) (Plan, error)) error {
	node, err := r.target.Read(ctx)
	if err != nil {
		return err
	}
	p, err := plan(node)
	if err != nil {
		return err
	}
	r.explain(p)
	for _, s := range p.Steps {
		if _, err := fmt.Fprintln(to, s); err != nil {
			return err
		}
	}
	return nil
}

// run runs a plan and returns the number of steps that were made.
func (r runner) run(ctx context.Context, plan func(Node) (Plan, error)) (steps int, err error) {
	p, err := r.target.Run(ctx, plan, func(s Step) {
		steps++
		r.log("info", s.String())
	})
	r.explain(p)
	if err == nil && len(p.Steps) == 0 {
		r.logOnce("info", "nothing to change in "+r.target.Dirs.Bin+" and "+r.target.Dirs.Conf)
	}
	return steps, err
}

// explain logs the decisions of a plan.
func (r runner) explain(p Plan) {
	for _, w := range p.Warnings {
		r.logOnce("warning", w)
	}
	if p.Method != "" {
		r.logOnce("info", fmt.Sprintf("method %s: %s", p.Method, p.Because))
	}
}

// watch runs a plan whenever the node changes, and logs once what another program may change.
func (r runner) watch(ctx context.Context, plan func(Node) (Plan, error)) error {
	r.said = map[string]bool{}
	events, err := notify(ctx, r.target.watched)
	if err != nil {
		r.log("warning", fmt.Sprintf("the files are read only every %s: %v", resyncTime, err))
	}
	pass := func(ctx context.Context) (int, error) {
		steps, err := r.run(ctx, plan)
		if steps > 0 {
			clear(r.said)
		}
		if err != nil && !lasting(err) && ctx.Err() == nil {
			r.logOnce("warning", err.Error())
		}
		return steps, err
	}
	return Watch(ctx, events, pass, lasting, func() { r.log("warning", r.target.conflictText()) })
}

// lasting reports whether an error is one that stays while the program runs.
func lasting(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) || errors.Is(err, ErrRemoved)
}

// An ExitError sets the exit code of the program. Its error is nil if all has been printed.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }
