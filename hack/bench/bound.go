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

// A lowerBound makes the steps of the lower bound besides the idle program: restores, saves, or
// netlink messages.
type lowerBound struct {
	dir   string // where their input is
	files int
	send  string // the program netlink
}

// steps returns what an action of a workload needs.
func (b *lowerBound) steps(w workload, action string) ([]step, error) {
	first, err := configOf(w.first)
	if err != nil {
		return nil, err
	}
	then, err := configOf(w.then)
	if err != nil {
		return nil, err
	}
	of := b.tools
	if w.Backend == native {
		of = b.netlink
	}
	return of(w, action, &first, &then)
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
func (b *lowerBound) tools(w workload, action string, first, then *capture.Config) ([]step, error) {
	var saves step
	for _, family := range w.families() {
		saves = append(saves, command{path: "/usr/sbin/" + strings.TrimSuffix(xtables.SaveTool(family), "save") + w.Backend + "-save"})
	}
	switch action {
	case "re-run", "check":
		return []step{saves}, nil
	case "apply":
		restores, err := b.restores(w, nil, first)
		return []step{restores}, err
	case "change":
		restores, err := b.restores(w, first, then)
		return []step{saves, restores}, err
	case "clean":
		steps := []step{saves}
		restores, err := b.restores(w, then, nil)
		for _, one := range restores {
			steps = append(steps, step{one})
		}
		return steps, err
	}
	return nil, nil
}

// restores are those that lead from one configuration to another; nil: none.
func (b *lowerBound) restores(w workload, from, to *capture.Config) (at step, err error) {
	args := []string{"--noflush"}
	if w.Backend == legacy {
		args = append(args, "--wait=20") // for the other family
	}
	for _, family := range w.families() {
		state, want := iptables.Snapshot{Family: family}, iptables.Ruleset{Family: family}
		if from != nil {
			state = iptables.Plan(state, iptables.Ownership{}, capture.Rules(*from, family)).After
		}
		if to != nil {
			want = capture.Rules(*to, family)
		}
		script := xtables.Script(iptables.Plan(state, infer.Ownership(state), want))
		file, err := b.file([]byte(script))
		if err != nil {
			return nil, err
		}
		tool := "/usr/sbin/" + strings.TrimSuffix(xtables.SaveTool(family), "save") + w.Backend + "-restore"
		at = append(at, command{path: tool, args: args, stdin: file})
	}
	return at, nil
}

// netlink are listings and transactions.
func (b *lowerBound) netlink(w workload, action string, first, then *capture.Config) ([]step, error) {
	list := step{{path: b.send, args: []string{"list", fmt.Sprint(len(w.families()))}}}
	switch action {
	case "re-run", "check":
		return []step{list}, nil
	case "apply":
		send, err := b.transaction(w, nil, first)
		return []step{send}, err
	case "change":
		send, err := b.transaction(w, first, then)
		return []step{list, send}, err
	case "clean":
		send, err := b.transaction(w, then, nil)
		return []step{list, send}, err
	}
	return nil, nil
}

func (b *lowerBound) transaction(w workload, from, to *capture.Config) (step, error) {
	var changes []nftables.Change
	for _, family := range w.families() {
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
	file, err := b.file(netutil.EncodeNFT(nftables.Messages(changes), 0))
	return step{{path: b.send, args: []string{"send", file}}}, err
}

func tableOf(c *capture.Config, f inet.Family) (nftables.Table, error) {
	if c == nil {
		return nftables.Table{Family: f}, nil
	}
	return nftables.Compile(capture.ListRules(*c, f))
}

func (b *lowerBound) file(content []byte) (string, error) {
	b.files++
	path := filepath.Join(b.dir, fmt.Sprint("input", b.files))
	return path, os.WriteFile(path, content, 0o600)
}
