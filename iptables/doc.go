// Package iptables owns the vocabulary of the rules: what a rule can say, how
// iptables-save prints it, which packet it takes, how one state of the kernel
// is turned into another, and the one way to the kernel.
//
// # Guarantees
//
//   - The text is the kernel's text. What [Ruleset.String] prints is, line for
//     line, what iptables-save (ip6tables-save) prints once the rules are
//     applied to an empty namespace, on the nft and on the legacy variant.
//   - A change is a script that could be printed. [Plan] is the
//     iptables-restore --noflush input that turns one state into another, and
//     is empty when nothing differs. Applying, checking and cleaning are the
//     same difference, taken to different ends.
//   - Only what is ours is touched. Ours are the chains whose name starts with
//     [OwnPrefix], and the rules of built-in chains that only jump to one.
//     Everybody else's rules are never rewritten, reordered, repeated or
//     removed.
//   - Looking changes nothing. [Survey] starts iptables-save where there is
//     something to read, [Kernel.Identify] iptables -C where a rule is not
//     understood, and never a program that writes.
//
// # Where what is
//
//	Match, targets ── Rule ── Chain ── Table ── Ruleset      the typed rules
//	                             │
//	   ParseRule  <── text ──────┤── Validate    is it legal
//	                             ├── Trace       where does this packet land
//	   ParseSnapshot ── Snapshot ┴── Plan        what has to change
//	                                   │
//	   Survey, Identify, Commit <──────┘         what starts programs
//
// Everything but [Survey] and what takes a context of [Kernel] is pure: values
// in, values out, safe from any goroutine. Those start processes, which inherit
// the network namespace of the thread they are called on; call them from the
// goroutine that entered the namespace.
package iptables
