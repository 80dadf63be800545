// Package istio holds what rules are compared with: those that Istio's own program writes for a
// configuration, random configurations and packets, and where a packet ends.
package istio
