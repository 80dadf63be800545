package report

import (
	"fmt"
	"strings"

	"istio-init/capture/pod"
)

// A Version is the version of the program, and the iptables that were found. Its fields are
// the keys of version --output json.
type Version struct {
	header
	Version  string     `json:"version" jsonschema:"the version of the program"`
	Go       string     `json:"go" jsonschema:"the release of Go that built it"`
	IPTables []IPTables `json:"iptables" jsonschema:"the variants of iptables"`
}

// An IPTables is a variant of iptables as it is installed.
type IPTables struct {
	Backend pod.Name `json:"backend" jsonschema:"the variant"`
	Found   bool     `json:"found" jsonschema:"a program of it was found and tells its release"`
	Version string   `json:"version,omitempty" jsonschema:"its release"`
	Path    string   `json:"path,omitempty" jsonschema:"the program that was asked"`
	Error   string   `json:"error,omitempty" jsonschema:"why it was not found, for people"`
}

// NewVersion returns a version.
func NewVersion(version, goRelease string, iptables []IPTables) *Version {
	return &Version{newHeader(kindVersion), version, goRelease, iptables}
}

func (v *Version) document() any { return v }

func (v *Version) text(Styler) string {
	var b strings.Builder
	fmt.Fprintf(&b, "istio-init %s %s\n", v.Version, v.Go)
	for _, i := range v.IPTables {
		if !i.Found {
			fmt.Fprintf(&b, "iptables (%s): %s\n", i.Backend, i.Error)
			continue
		}
		fmt.Fprintf(&b, "iptables %s (%s) %s\n", i.Version, i.Backend, i.Path)
	}
	return b.String()
}
