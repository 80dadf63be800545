// Package capture owns what to intercept: the meaning of Istio's options in
// terms of traffic, and the chains that carry it.
//
// # The way of the traffic
//
//	                     ┌──────────────── pod ────────────────┐
//	peer ──▶ PREROUTING ─┼▶ ISTIO_INBOUND ─▶ ISTIO_IN_REDIRECT ─▶ proxy (inbound port)
//	                     │                                       │ from 127.0.0.6
//	                     │    app  ◀────────── lo ───────────────┘
//	                     │     │
//	                     │     ▼ OUTPUT ─▶ ISTIO_OUTPUT ─▶ ISTIO_REDIRECT ─▶ proxy (outbound port)
//	out  ◀───────────────┼─────────── uid or gid of the proxy ──┘
//	                     └─────────────────────────────────────┘
//
// # The chains
//
//	nat     PREROUTING -p tcp ─▶ ISTIO_INBOUND   which connections from outside are inbound
//	                               └▶ ISTIO_IN_REDIRECT  to the inbound port
//	                               └▶ ISTIO_REDIRECT     of virtual interfaces: they are outbound
//	nat     OUTPUT ────────────▶ ISTIO_OUTPUT    which connections from inside are outbound
//	                               └▶ ISTIO_IN_REDIRECT  proxy to its own pod: in by the front door
//	                               └▶ ISTIO_OUTPUT_DNS   look-ups, to the agent
//	                               └▶ ISTIO_REDIRECT     to the outbound port
//	                               └▶ ISTIO_OUTPUT_GROUP the rest, for one of many owner groups
//	mangle  PREROUTING -p tcp ─▶ ISTIO_INBOUND   mode TProxy: which packets are inbound
//	                               └▶ ISTIO_TPROXY       to the proxy's socket
//	                               └▶ ISTIO_DIVERT       of a connection that it has
//	mangle  OUTPUT -p tcp ─────▶ ISTIO_OUTPUT    mode TProxy: answers go back by the proxy
//	mangle  PREROUTING invalid ▶ ISTIO_DROP      what conntrack calls invalid
//	raw     both ──────────────▶ ISTIO_INBOUND, ISTIO_OUTPUT_DNS   conntrack zones of look-ups
//
// [Rules] is pure and total: a valid [Config] always has rules, and the same
// one always has the same. [Apply] is the only function here that acts, through
// the two methods of a [Dataplane].
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
//     raw before nat, so that look-ups have their zones before they are
//     redirected; mangle before nat, so that TPROXY takes over before the
//     redirection ends.
//  3. Tables from which a jump goes are committed. When capture moves from
//     mangle to nat, nat has it by then; between the two both have it, and the
//     one that comes first in the kernel, mangle, decides.
//  4. What is ours in the other variant of iptables is removed. Until then both
//     variants redirect a connection, which is the same as one: nat decides once.
//     Two that both mark, for TPROXY, are not the same as one; see below.
//  5. What no rule needs any more is removed, since now there is none in either
//     variant: policy routing, and the passthrough address unless IPv6 is captured.
//  6. Istio's own tables of nf_tables are removed. It is the last step, as it
//     cannot be taken back.
//
// The families do not depend on each other: no connection is of both.
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
// removed, and a variant is never changed but on request: [istio-init/iptables/xtables.Choose] stays
// with the one that holds the rules. The order of the steps cannot help. With the
// old rules removed first, connections would escape, which is worse than to fail;
// and no transaction spans both variants. Who needs the move goes by way of
// REDIRECT, which has no marks.
//
// The same command run again finds the state that is there and takes the steps
// that are left. A step that fails takes back those before it.
package capture
