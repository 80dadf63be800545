// Package buildinfo tells which version of the repository a program was built from.
package buildinfo

import "runtime/debug"

// Version is what the build was told, or else that of the module, or the revision it was
// built from, and the release of Go. release is "" where the build was told nothing.
func Version(release string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if release != "" {
		return release + " " + info.GoVersion
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return v + " " + info.GoVersion
}
