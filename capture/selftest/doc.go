// Package selftest checks the rules by connections: which to make, where each must arrive,
// and what is wrong if it arrives elsewhere.
//
// [Prepare] is pure. From a config it plans one connection for each kind of traffic
// of [capture.Config]: from an app and from the proxy, to captured and to excluded
// destinations, from the pod to itself, and DNS queries. Where each must arrive follows
// from the typed rules, [iptables.Ruleset.TraceSent], so it holds for every config. Of a
// list of ports, destinations or groups the first element represents the others; every
// user and group of the proxy has connections of its own.
//
// [Run] makes them. It replaces the proxy: it listens on its ports, which only works
// while no proxy runs. Each connection carries a random token. It passes if a listener
// of ours has read the token, the original destination is that of the connection, and
// the client has read an answer that only the listener knew. So the answer of another
// program proves nothing.
//
// # What must not arrive
//
// A connection that must not be captured, to outside the pod, is one that has not
// arrived at our listeners. No timeout decides that: over the loopback interface a
// redirected packet arrives in order, so a control connection to each listener, begun
// after it, arrives after it. If the control has arrived and the connection has not, it
// was not captured. It takes milliseconds; only a failure takes the time that the
// context gives.
//
// # Side effects
//
// Nothing is added to the namespace, no rule, address or interface. What leaves the
// pod, because it must or because rules are missing, is the first packet of a
// connection or one UDP packet: it goes no farther than the next machine (TTL 1), to an
// address for documentation (RFC 5737, RFC 3849) unless the config demands another,
// and on port 53 it looks like an answer without a query, which servers drop. A
// connection ends with a reset, so that no port stays in use. Other programs that
// connect meanwhile get no answer.
//
// # Rules of Istio
//
// With [Environment.Istio] the rules may be those that Istio's own tools make of the config,
// such as its CNI plugin. A few connections arrive elsewhere then, [capture.IstioRules]. Such
// a result differs, and is no failure.
//
// # Limits
//
// A packet that a socket of the pod sends is new to nat at OUTPUT, and not again at
// PREROUTING. So in mode REDIRECT no packet from inside enters the chain for inbound
// connections. Not even a frame that is written to the loopback interface (packet(7)):
// it would be redirected to 127.0.0.1, and a packet to there that was routed anew is
// dropped (net/ipv4/route.c, martian destination). The end of the chain,
// ISTIO_IN_REDIRECT, is checked by the proxy's connections to its own pod. In mode
// TPROXY their mark leads through the chain itself. What cannot be made is a [Result]
// with the outcome NotChecked and the reason.
package selftest
