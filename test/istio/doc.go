// Package istio has the reference for tests of rules: the rules that Istio's own program makes
// for a configuration, random configurations and packets, and the outcome of a packet.
package istio
