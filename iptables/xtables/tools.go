package xtables

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"istio-init/netutil/inet"
)

// Env returns the variables that an administrator may set for the programs, as "NAME=value":
// where their extensions and their lock are.
func Env(lookup func(name string) (value string, ok bool)) []string {
	var env []string
	for _, name := range []string{"XTABLES_LIBDIR", LockFile} {
		if value, ok := lookup(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// LockFile is the variable that names the lock of iptables-legacy.
const LockFile = "XTABLES_LOCKFILE"

// systemDirs are the directories of system programs, as PATH has them.
const systemDirs = "/usr/sbin:/usr/bin:/sbin:/bin"

// env is the whole environment of the programs we start. LC_ALL=C keeps their messages in
// English.
func (c Config) env() []string {
	return append([]string{"LC_ALL=C", "PATH=" + systemDirs}, c.Env...)
}

// findTools returns the programs of a variant and family by absolute path.
// Programs that carry the variant in their name are taken first; a plain
// iptables-restore is taken when it proves to be of the variant.
func (c Config) findTools(ctx context.Context, v Variant, f inet.Family) (save, restore string, err error) {
	base := strings.TrimSuffix(SaveTool(f), "-save")
	named := base + "-" + v.String()
	save, restore = c.lookPath(named+"-save"), c.lookPath(named+"-restore")
	if save != "" && restore != "" {
		return save, restore, nil
	}
	save, restore = c.lookPath(base+"-save"), c.lookPath(base+"-restore")
	if save == "" || restore == "" {
		return "", "", fmt.Errorf("neither %s-restore nor %s-restore is installed: %w", named, base, exec.ErrNotFound)
	}
	is, err := c.variantOf(ctx, restore)
	if err != nil {
		return "", "", err
	}
	if is != v {
		return "", "", fmt.Errorf("%s-restore is not installed (%s is of the variant %s): %w", named, restore, is, exec.ErrNotFound)
	}
	return save, restore, nil
}

// lookPath finds a program, also where system programs are when PATH does not
// say so; "" when it is not there.
func (c Config) lookPath(name string) string {
	for _, dir := range filepath.SplitList(c.Path + ":" + systemDirs) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// variantOf tells the variant of a plain iptables-restore: by the program its
// name leads to, as distributions install it, else by its version.
func (c Config) variantOf(ctx context.Context, path string) (Variant, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		for _, v := range Variants {
			if strings.Contains(filepath.Base(target), v.String()) {
				return v, nil
			}
		}
	}
	p := &process{path: path, args: []string{"--version"}, env: c.env()}
	runAll(ctx, []*process{p})
	if p.err != nil {
		return 0, fmt.Errorf("%s --version: %w: %s", path, p.err, p.stderrText())
	}
	// iptables 1.8 prints "iptables-restore v1.8.9 (nf_tables)"; 1.6 and
	// before have no nft variant and print no variant at all.
	if bytes.Contains(p.stdout, []byte("nf_tables")) {
		return NFT, nil
	}
	return Legacy, nil
}

// SaveTool returns the name of the program that prints the rules of a family.
func SaveTool(f inet.Family) string {
	if f == inet.IPv6 {
		return "ip6tables-save"
	}
	return "iptables-save"
}
