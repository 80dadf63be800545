// Command istio-cni is a CNI plugin that makes Istio's traffic-interception rules for pods
// that have no privileged init container. It decides by the annotations of the pod, which
// the container runtime passes on, and needs neither the API server nor an agent.
//
//	runtime ── entry, annotations ─▶ netconf ─▶ decision ─▶ options ─▶ pod.Engine ─▶ kernel
//	        ◀─ result, or one error ──────────────────────────────────────┘
//
// A runtime calls it with CNI_COMMAND set. Without that it is a program with the commands
// install, uninstall and status. Package netconf has the keys of the entry, package decision
// which pods are captured, and by which options.
//
// # The verbs
//
// The versions 0.3.0 to 1.1.0 of the specification are answered. Of the environment only the
// variables of the specification are read, and of CNI_ARGS the namespace and the name of the pod.
//
//   - ADD makes the rules, all or none, and passes the result of the plugins before on, in the
//     version of the entry; an empty result where there are none. An ADD again changes nothing.
//   - CHECK compares, changes nothing, and names the first rule that differs.
//   - DEL does nothing and never fails: the rules end with the network namespace.
//   - STATUS plans the rules in a new network namespace that ends with it, so that it knows of
//     what the kernel and the programs of the node lack. It refuses an entry without the
//     capability for annotations, and ambient_enabled.
//   - GC does nothing.
//
// Before anything is touched, CNI_NETNS has to be a network namespace, and neither that of the
// plugin nor that of the machine's init process.
//
// The backend is the variant of iptables that has rules in the pod, else nft, else legacy, and
// native nftables where the entry asks for it or the node has no programs. Those are looked for
// in the directories of the system alone. Rules reach them through files in memory, so none is
// written.
//
// # Errors
//
// stdout has at most one JSON document. The message of an error is one line, for the event of the
// pod; where several inputs are wrong, all are in its details. Codes are those of the
// specification, 50 of STATUS among them, and
//
//	100  the entry or an annotation is wrong, or no annotations arrive: nothing was touched
//	101  the rules could not be made: none are there
//	102  CHECK: the rules have changed
//
// # Log
//
// stderr has lines of JSON. Each ADD and CHECK has one that tells all: namespace, pod, sandbox,
// decision (apply, skip or fail), reason, options (each value with its source), backend, error,
// and ms, the milliseconds that it took. It is of level info, warn where a pod is skipped that
// looks captured or has a hint for no option, and error where the call fails. Other annotations,
// and the entry, are not logged. Warnings about the pod, as of IPv6 that is not captured, have
// lines of their own.
package main
