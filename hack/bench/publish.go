package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// tableMark encloses the table in the document.
var tableMark = regexp.MustCompile(`(?s)(<!-- bench -->\n).*?(<!-- end of bench -->\n)`)

//go:embed plot.gnuplot
var plot string

// publish writes the tables of a result into a document, and draws its plot, an SVG of the same name.
func publish(result, document string) error {
	r, err := read(result)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	if !tableMark.Match(text) {
		return errors.New(document + " has no place for the table: <!-- bench -->")
	}
	machine := fmt.Sprintf("\nMedians of %d rounds; %s. %s\n\n", r.Rounds, r.Machine, r.drift())
	text = tableMark.ReplaceAllFunc(text, func(old []byte) []byte {
		parts := tableMark.FindSubmatch(old)
		return []byte(string(parts[1]) + machine + r.table() + "\n| limit | measured | at most | |\n|---|---|---|---|\n" + r.limits("| %s | %.2f | %.2f | %s |\n") + "\n" + string(parts[2]))
	})
	if err := os.WriteFile(document, text, 0o644); err != nil {
		return err
	}
	svg := strings.TrimSuffix(document, filepath.Ext(document)) + ".svg"
	cmd := exec.Command("gnuplot", "-e", "set output '"+svg+"'", "-")
	cmd.Stdin, cmd.Stderr = strings.NewReader(r.data()+plot), os.Stderr
	return cmd.Run()
}

// data returns the curves as data blocks of gnuplot: a run by the length of the list, and a
// connection by it, as ratio to one without a list.
func (r *Result) data() string {
	var b strings.Builder
	for _, backend := range backends {
		fmt.Fprintf(&b, "$run_%s << EOD\n", backend)
		for _, n := range []int{1, 10, 100, 1000, 5000} {
			config := fmt.Sprint(n, " prefixes")
			if n == 1 { // the axis has no zero
				config = "default"
			}
			apply := r.find(config, "ipv4", backend, "apply", "istio-init")
			again := r.find(config, "ipv4", backend, "re-run", "istio-init")
			fmt.Fprintf(&b, "%d %g %g\n", n, apply.Wall.Median, again.Wall.Median)
		}
		b.WriteString("EOD\n")
		for _, e := range excluded {
			fmt.Fprintf(&b, "$%s_%s << EOD\n", e.list, backend)
			for _, c := range r.Connections {
				if c.Backend == backend && (c.List == e.list || c.N == 0) {
					fmt.Fprintf(&b, "%d %g\n", max(1, c.N), ratio(c.Connect, r.connect(backend, 0)))
				}
			}
			b.WriteString("EOD\n")
		}
	}
	return b.String()
}
