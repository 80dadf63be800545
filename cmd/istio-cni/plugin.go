package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"go.uber.org/zap/zapcore"

	"istio-init/cmd/istio-cni/decision"
	"istio-init/cmd/istio-cni/install"
	"istio-init/cmd/istio-cni/netconf"
	"istio-init/cmd/logging"
	"istio-init/netutil"
)

// The codes of errors, besides those of the specification.
const (
	codePod   = 100 // the annotations of the pod, or that none arrive
	codeRules = 101 // the rules could not be made
	codeDrift = 102 // CHECK: the rules are not the wanted ones
	// codeUnavailable is that of the specification for STATUS; the library does not name it.
	codeUnavailable = 50
)

// deleteCommand is the verb that never fails, whatever the call: the pod could not be removed else.
const deleteCommand = "DEL"

// versions are the versions of the specification in which plugins are chained.
var versions = version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

// A plugin answers one call of a container runtime.
type plugin struct {
	log    *logging.Logger
	level  zapcore.Level // the lowest that is logged
	result bytes.Buffer  // for stdout, of an ADD that succeeds
	passes bool          // the plugin was uninstalled: it passes results through
}

// runPlugin answers a container runtime and returns the exit code. At most one JSON document is
// written to stdout.
func runPlugin(ctx context.Context, command string, stdin io.Reader, stdout, stderr io.Writer) int {
	if command == deleteCommand { // the rules end with the namespace
		_, _ = io.Copy(io.Discard, stdin)
		return 0
	}
	p := &plugin{passes: install.PassesThrough()}
	p.log = logging.New(stderr, zapcore.NewJSONEncoder, &p.level)
	err := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    func(args *skel.CmdArgs) error { return p.add(ctx, args) },
		Check:  func(args *skel.CmdArgs) error { return p.check(ctx, args) },
		Status: func(args *skel.CmdArgs) error { return p.status(ctx, args) },
		GC:     func(*skel.CmdArgs) error { return nil }, // there is nothing outside of namespaces
	}, versions, "")
	if err == nil {
		if _, err := stdout.Write(p.result.Bytes()); err != nil {
			p.log.Error("write the result", logging.Error(err))
			return 1
		}
		return 0
	}
	if text, wrong := json.Marshal(err); wrong == nil {
		_, _ = stdout.Write(append(text, '\n'))
	}
	return 1
}

// A call is a call about one pod.
type call struct {
	args  *skel.CmdArgs
	entry netconf.Conf
	decision.Decision
	pod     decision.Pod
	start   time.Time
	backend string // that has the rules
}

// decide reads the entry and decides about the pod.
func (p *plugin) decide(args *skel.CmdArgs) *call {
	c := &call{args: args, start: time.Now()}
	entry, problems := netconf.Parse(args.StdinData)
	p.setLevel(entry.LogLevel)
	c.entry = entry
	for pair := range strings.SplitSeq(args.Args, ";") {
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "K8S_POD_NAMESPACE":
			c.pod.Namespace = value
		case "K8S_POD_NAME":
			c.pod.Name = value
		}
	}
	c.Decision = decision.Decide(entry, problems, c.pod)
	if p.passes {
		c.Decision = decision.Decision{Verdict: decision.Skip, Reason: "the plugin was uninstalled"}
	}
	return c
}

// add makes the rules of a pod, all or none.
func (p *plugin) add(ctx context.Context, args *skel.CmdArgs) error {
	c := p.decide(args)
	err := p.prepare(args.StdinData)
	if err == nil {
		err = p.act(ctx, c, c.apply)
	}
	p.logCall("ADD", c, err)
	return err
}

// check compares the rules of a pod with the wanted ones, and changes nothing.
func (p *plugin) check(ctx context.Context, args *skel.CmdArgs) error {
	c := p.decide(args)
	err := p.act(ctx, c, c.compare)
	p.logCall("CHECK", c, err)
	return err
}

// act does what was decided, in the namespace of the pod.
func (p *plugin) act(ctx context.Context, c *call, do func(context.Context, *logging.Logger) error) error {
	switch c.Verdict {
	case decision.Skip:
		return nil
	case decision.Fail:
		return refusal(c.Errors)
	case decision.Apply:
	}
	if err := netutil.CheckPodNetNS(c.args.Netns); err != nil {
		return &types.Error{Code: types.ErrInvalidNetNS, Msg: line(err), Details: "CNI_NETNS names it"}
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	err := do(ctx, p.log)
	if _, coded := errors.AsType[*types.Error](err); err == nil || coded {
		return err
	}
	return &types.Error{Code: codeRules, Msg: line(err)}
}

// prepare makes the result before anything is changed: that of the plugins before, in the version
// of the entry, or an empty one.
func (p *plugin) prepare(entry []byte) error {
	var conf types.PluginConf
	if err := json.Unmarshal(entry, &conf); err != nil {
		return &types.Error{Code: types.ErrDecodingFailure, Msg: line(fmt.Errorf("network configuration: %w", err))}
	}
	conf.PrevResult = &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	if conf.RawPrevResult != nil {
		if err := version.ParsePrevResult(&conf); err != nil {
			return &types.Error{Code: types.ErrDecodingFailure, Msg: line(fmt.Errorf("network configuration: prevResult: %w", err))}
		}
	}
	result, err := conf.PrevResult.GetAsVersion(conf.CNIVersion)
	if err == nil {
		err = result.PrintTo(&p.result)
	}
	if err != nil {
		return &types.Error{Code: types.ErrIncompatibleCNIVersion, Msg: line(fmt.Errorf("network configuration: prevResult as version %s: %w", conf.CNIVersion, err))}
	}
	return nil
}

// status reports whether the plugin could make the rules of a pod on this node. It looks in a network
// namespace of its own.
func (p *plugin) status(ctx context.Context, args *skel.CmdArgs) error {
	if p.passes {
		return nil
	}
	entry, problems := netconf.Parse(args.StdinData)
	p.setLevel(entry.LogLevel)
	if !entry.Capable && entry.OnMissing == netconf.MissingFails {
		problems = append(problems, decision.ErrMissing)
	}
	c := &call{entry: entry, Decision: decision.ForAnyPod(entry, problems)}
	var err error
	if c.Verdict == decision.Fail {
		err = refusal(c.Errors)
	} else {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		err = netutil.InNewNetNS(func() error {
			_, err := planned(ctx, engine("", &c.Options.Run, logging.Discard()), &c.Options.Run, logging.Discard())
			return err
		})
	}
	if err == nil {
		return nil
	}
	unavailable := &types.Error{Code: codeUnavailable, Msg: line(err)}
	if coded, ok := errors.AsType[*types.Error](err); ok {
		unavailable.Msg, unavailable.Details = coded.Msg, coded.Details
	}
	p.log.Error("not available", logging.Error(unavailable))
	return unavailable
}

// limited returns a context that ends with the timeout of the entry or by a signal. Before, while
// the input is read, a signal ends the plugin at once. After, none does: rules that were made are
// answered.
func (c *call) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, _ = onSignals(ctx)
	return context.WithTimeoutCause(ctx, c.entry.Timeout, fmt.Errorf("not done within the timeout of %s", c.entry.Timeout))
}

// refusal is the error of wrong input: the first one on the line that the pod's event shows, and
// where there are more all of them in the details.
func refusal(errs []error) *types.Error {
	e := &types.Error{Code: codePod, Msg: line(errs[0])}
	if more := len(errs) - 1; more > 0 {
		e.Msg = fmt.Sprintf("%s (and %d more)", e.Msg, more)
		var lines []string
		for _, err := range errs {
			lines = append(lines, line(err))
		}
		e.Details = bounded(strings.Join(lines, "\n"))
	}
	return e
}

// line returns the text of an error on one line that an event of Kubernetes has room for.
func line(err error) string {
	const most = 800
	return cut(strings.Join(strings.FieldsFunc(err.Error(), func(c rune) bool { return c == '\n' || c == '\r' }), "; "), most)
}

// bounded returns a text of several lines for the details of an error.
func bounded(text string) string {
	const most = 8192
	return cut(strings.TrimSpace(text), most)
}

// cut cuts off the end of a long text.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
