package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
)

// A floor makes the lower bound of an action besides the idle program: restores, saves, or
// netlink messages.
type floor struct {
	dir   string // where their input is
	files int
	send  string // the program netlink
}

// steps returns what an action needs, of a life.
func (f *floor) steps(l life, action string) ([]step, error) {
	first, err := configOf(l.first)
	if err != nil {
		return nil, err
	}
	then, err := configOf(l.then)
	if err != nil {
		return nil, err
	}
	of := f.tools
	if l.Backend == native {
		of = f.netlink
	}
	return of(l, action, &first, &then)
}

// configOf returns what flags mean.
func configOf(flags []string) (capture.Config, error) {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	defined := options.Apply.Define(set)
	if err := set.Parse(flags); err != nil {
		return capture.Config{}, err
	}
	parsed, problems := defined.Parse(context.Background(), func(string) (string, bool) { return "", false }, strings.NewReader(""))
	if len(problems) > 0 {
		return capture.Config{}, problems[0]
	}
	parsed.Config.DNS.All = parsed.RedirectDNS
	return parsed.Config, nil
}

// tools are the programs of iptables. Clean removes the families one after the other, since
// iptables-nft loses chains when it deletes in both at once.
func (f *floor) tools(l life, action string, first, then *capture.Config) ([]step, error) {
	var saves step
	for _, family := range l.families() {
		saves = append(saves, command{path: "/usr/sbin/" + strings.TrimSuffix(xtables.SaveTool(family), "save") + l.Backend + "-save"})
	}
	switch action {
	case "re-run", "check":
		return []step{saves}, nil
	case "apply":
		restores, err := f.restores(l, nil, first)
		return []step{restores}, err
	case "change":
		restores, err := f.restores(l, first, then)
		return []step{saves, restores}, err
	case "clean":
		steps := []step{saves}
		restores, err := f.restores(l, then, nil)
		for _, one := range restores {
			steps = append(steps, step{one})
		}
		return steps, err
	}
	return nil, nil
}

// restores are those that lead from one configuration to another; nil: none.
func (f *floor) restores(l life, from, to *capture.Config) (at step, err error) {
	args := []string{"--noflush"}
	if l.Backend == legacy {
		args = append(args, "--wait=20") // for the other family
	}
	for _, family := range l.families() {
		state, want := iptables.Snapshot{Family: family}, iptables.Ruleset{Family: family}
		if from != nil {
			state = iptables.Plan(state, iptables.Ownership{}, capture.Rules(*from, family)).After
		}
		if to != nil {
			want = capture.Rules(*to, family)
		}
		script := xtables.Script(iptables.Plan(state, infer.Ownership(state), want))
		file, err := f.file([]byte(script))
		if err != nil {
			return nil, err
		}
		tool := "/usr/sbin/" + strings.TrimSuffix(xtables.SaveTool(family), "save") + l.Backend + "-restore"
		at = append(at, command{path: tool, args: args, stdin: file})
	}
	return at, nil
}

// netlink are listings and transactions.
func (f *floor) netlink(l life, action string, first, then *capture.Config) ([]step, error) {
	list := step{{path: f.send, args: []string{"list", fmt.Sprint(len(l.families()))}}}
	switch action {
	case "re-run", "check":
		return []step{list}, nil
	case "apply":
		send, err := f.transaction(l, nil, first)
		return []step{send}, err
	case "change":
		send, err := f.transaction(l, first, then)
		return []step{list, send}, err
	case "clean":
		send, err := f.transaction(l, then, nil)
		return []step{list, send}, err
	}
	return nil, nil
}

func (f *floor) transaction(l life, from, to *capture.Config) (step, error) {
	var changes []nftables.Change
	for _, family := range l.families() {
		before, err := tableOf(from, family)
		if err != nil {
			return nil, err
		}
		after, err := tableOf(to, family)
		if err != nil {
			return nil, err
		}
		changes = append(changes, nftables.Change{Before: nftables.Live{Table: before, Present: from != nil}, After: after})
	}
	file, err := f.file(netutil.EncodeNFT(nftables.Messages(changes), 0))
	return step{{path: f.send, args: []string{"send", file}}}, err
}

func tableOf(c *capture.Config, f inet.Family) (nftables.Table, error) {
	if c == nil {
		return nftables.Table{Family: f}, nil
	}
	return nftables.Compile(capture.ListRules(*c, f))
}

func (f *floor) file(content []byte) (string, error) {
	f.files++
	path := filepath.Join(f.dir, fmt.Sprint("input", f.files))
	return path, os.WriteFile(path, content, 0o600)
}
