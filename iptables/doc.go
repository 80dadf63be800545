// Package iptables owns the vocabulary of the rules: what a rule can say, how
// iptables-save prints it, which packet it takes, and how one live state is turned
// into another. It is pure: values in, values out, safe from any goroutine. What
// starts programs is in istio-init/iptables/xtables.
//
// # Guarantees
//
//   - The text is the kernel's text. What [Ruleset.String] prints is, line for
//     line, what iptables-save (ip6tables-save) prints once the rules are
//     applied to an empty namespace, on the nft and on the legacy variant.
//   - A change is a value. [Plan] returns the edits that turn one state into another, none
//     when nothing differs. Apply, check and clean use the same change; xtables makes the
//     input of iptables-restore --noflush of it.
//   - Only owned chains and rules are changed. [Ownership] says which they are; it is given
//     to the planner. Foreign rules are never rewritten, reordered, repeated or removed.
//
// # Where what is
//
//	Match, targets ── Rule ── Chain ── Table ── Ruleset      the typed rules
//	                             │
//	   ParseRule  <── text ──────┤── Validate    is it legal
//	                             ├── Trace       where does this packet land
//	   ParseSnapshot ── Snapshot ┴── Plan        what has to change
package iptables
