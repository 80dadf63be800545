// Package pod is the engine: it finds out what a network namespace has, plans the change to
// what is wanted, and makes it.
//
//	capture.Config ─▶ Wanted ─┐
//	                          ├▶ Apply ─▶ Plan ─▶ Run
//	namespace ─▶ Survey ──────┘           │
//	                                      ├▶ String: what a run would do
//	                                      └▶ Empty: nothing has drifted
//
// What a run does is a value, the [Plan]: an ordered list of steps. To apply is to run it, to
// preview is to print it, to check is to ask whether it is empty. To clean is to run the plan
// to nothing. There is no second list of what a run does.
//
// The engine takes typed values and reports by typed events. It knows no flags, no
// environment, no log and no clock: its context has a deadline. Everything works in the
// network namespace of the calling thread; [Engine.Locked] enters one.
//
// # The order of a change
//
// The kernel changes one table of one family at a time, each as a whole. A run
// may be killed between any two steps, so the steps are ordered such that in
// between never less is captured than both before and after:
//
//  1. What rules need is added: policy routing, and the passthrough address if
//     IPv6 is captured. Without marked packets the routing does nothing; nobody
//     but the proxy uses the address, and it does once a rule gives it an inbound
//     connection. Without the address it could not connect to the app.
//  2. Tables that only gain jumps are committed, in the order of their hooks:
//     raw before nat, so that DNS queries have their zones before they are
//     redirected; mangle before nat, so that TPROXY takes over before the
//     redirection ends.
//  3. Tables from which a jump goes are committed. When capture moves from
//     mangle to nat, nat has it by then; between the two both have it, and the
//     one that comes first in the kernel, mangle, decides. Tables of nf_tables that
//     are empty now are deleted.
//  4. Our rules in the other backends are removed. Until then both
//     redirect a connection, which is the same as one: nat decides once.
//     Two variants of iptables that both mark, for TPROXY, are not the same as one; see below.
//  5. What no rule needs any more is removed, since now there is none in another
//     backend: policy routing, and the passthrough address unless IPv6 is captured.
//  6. Istio's own tables of nf_tables are removed. It is the last step, as it
//     cannot be taken back.
//
// The families do not depend on each other: no connection is of both. Native rules of both
// change in one transaction, which is steps 2 and 3. Before it may come another one, which
// adds what no packet meets yet; see [nftables.Change.Staged].
//
// To clean is steps 4 to 6, for all backends: the rules, Istio's own tables, and last what
// they need. A step that fails does not keep the others from being made, but rules that
// stay keep their routing and their address.
//
// Under a move from TPROXY in one variant to TPROXY in the other, with the same
// mark, connections fail; none escapes. While both have their rules, until step 4
// is over, each packet passes the mangle rules of both:
//
//	peer ─▶ PREROUTING, one variant:   TPROXY marks the packet
//	        PREROUTING, the other one: it has the mark, so it must be of the proxy
//	                                   to the app: the mark is saved to the connection
//	proxy's answer ─▶ OUTPUT: the mark is restored ─▶ lo, and never to the peer
//
// What befalls one packet of a connection stays with it: conntrack remembers. The
// cure is a condition, -i lo, on the rule that saves the mark, in both variants: the
// proxy's packets to the app come by lo, those of a peer do not. The rule is left
// as Istio has it all the same. Rules are compared line for line with Istio's, a
// rule that an earlier run of Istio left would have to be changed only to be
// removed, and a variant is never changed but on request: the backend that holds
// the rules is chosen again. The order of the steps cannot help. With the
// old rules removed first, connections would escape, which is worse than to fail;
// and no transaction spans both variants. Who needs the move goes by way of
// REDIRECT, which has no marks.
//
// The same command run again finds the state that is there and takes the steps
// that are left. A step that fails takes back those before it, the last one first.
// Where rules cannot be put back, what was added for them stays.
package pod
