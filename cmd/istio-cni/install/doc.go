// Package install puts the plugin and its entry on a node, takes them away, and tells what a
// node has.
//
// A run reads the node (ReadNode), decides in pure data (PlanInstall, PlanUninstall, Inspect),
// and makes the steps of a plan one after the other (Target.Run). Each step is one rename or
// one removal, so that a reader of a file sees all of it or nothing, and a run may be killed at
// any time: pods start and stop after each step, the status tells what is missing, and the next
// run plans from what it finds. A step compares the file with what the plan was made from just
// before it replaces it; what another program wrote meanwhile is read, and planned for, anew.
//
// In: the binary, the new entry, then the old entries go. Out: the entries, then the binary is
// replaced by one that passes results through. A runtime calls a plugin by the entry; an entry
// without a binary stops each start and end of a pod.
//
// Configurations are edited as text: only the bytes of our own entry change.
package install
