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
//	                               └▶ ISTIO_IN_REDIRECT  proxy to its own pod IP, to the inbound port
//	                               └▶ ISTIO_OUTPUT_DNS   DNS queries, to the agent
//	                               └▶ ISTIO_REDIRECT     to the outbound port
//	                               └▶ ISTIO_OUTPUT_GROUP the rest, if there are many owner groups
//	mangle  PREROUTING -p tcp ─▶ ISTIO_INBOUND   mode TProxy: which packets are inbound
//	                               └▶ ISTIO_TPROXY       to the proxy's socket
//	                               └▶ ISTIO_DIVERT       of a connection that it has
//	mangle  OUTPUT -p tcp ─────▶ ISTIO_OUTPUT    mode TProxy: answers go back by the proxy
//	mangle  PREROUTING invalid ▶ ISTIO_DROP      what conntrack calls invalid
//	raw     OUTPUT ────────────▶ ISTIO_OUTPUT_DNS   the conntrack zone of the proxy's DNS queries
//
// [Rules] is pure and total: a valid [Config] always has rules, and the same
// one always has the same. Package capture/pod makes them live.
package capture
