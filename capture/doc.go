// Package capture owns what to intercept: the meaning of Istio's options in
// terms of traffic, the chains that carry it, and the order in which they are
// put into the kernel and taken out.
//
// # The way of the traffic
//
//	                    ┌──────────────── pod ────────────────┐
//	peer ──▶ PREROUTING ─▶ ISTIO_INBOUND ─▶ ISTIO_IN_REDIRECT ─▶ proxy (inbound port)
//	                    │                                        │ from 127.0.0.6
//	                    │     app  ◀────────── lo ───────────────┘
//	                    │      │
//	                    │      ▼ OUTPUT ─▶ ISTIO_OUTPUT ─▶ ISTIO_REDIRECT ─▶ proxy (outbound port)
//	out  ◀──────────────┼──────────── uid or gid of the proxy ───┘
//	                    └─────────────────────────────────────┘
//
// # The chains
//
//	nat PREROUTING -p tcp ─▶ ISTIO_INBOUND      which connections from outside are inbound
//	                          └▶ ISTIO_IN_REDIRECT   to the inbound port
//	                          └▶ ISTIO_REDIRECT      of virtual interfaces: they are outbound
//	nat OUTPUT ────────────▶ ISTIO_OUTPUT       which connections from inside are outbound
//	                          └▶ ISTIO_IN_REDIRECT   proxy to its own pod: back in by the front door
//	                          └▶ ISTIO_REDIRECT      to the outbound port
//	mangle PREROUTING ─────▶ ISTIO_DROP         what conntrack calls invalid
//
// [Rules] is pure and total: a valid [Config] always has rules, and the same
// one always has the same. [Apply] is the only function here that acts, through
// the two methods of a [Dataplane].
package capture
