// Package install puts the plugin and its configuration on a node, takes them away, and
// tells what a node has.
package install
