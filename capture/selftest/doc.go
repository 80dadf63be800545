// Package selftest owns the proof of the rules by connections: which to make, where
// each must land, and what to think when it lands elsewhere.
//
// [Prepare] is pure. From a config it plans one connection for each kind of traffic
// of [capture.Config]: out of an app and out of the proxy, to what is captured and
// to what is excluded, from the pod to itself, and look-ups. Where each must land it
// asks of the typed rules, [iptables.Ruleset.TraceSent], so it holds for every
// config. Of a list of ports, destinations or groups the first element stands for
// the others; every user and group of the proxy has connections of its own.
//
// [Run] makes them. It takes the place of the proxy: it listens on its ports, which
// only works while no proxy runs. Each connection carries a random token. It is
// proved where it landed when a listener of ours has read the token, the original
// destination is that of the connection, and the client has read an answer that only
// the listener knew. So the answer of a other proves nothing.
//
// # What must not arrive
//
// A connection that must be left alone, to outside the pod, is one that has not come
// to our listeners. Nobody waits for that: over the loopback interface a redirected
// packet arrives in order, so a control connection to each listener, begun after
// it, arrives after it. When the control is there and the connection has no other
// end, it was left alone. It takes milliseconds; only what fails takes the time that
// the context gives.
//
// # What cannot hurt
//
// Nothing is added to the namespace, no rule, address or interface. What leaves the
// pod, because it has to or because rules are missing, is the first packet of a
// connection or one UDP packet: it goes no farther than the next machine (TTL 1), to an
// address for documentation (RFC 5737, RFC 3849) unless the config demands another,
// and on port 53 it looks like an answer that nobody asked for, which servers drop. A
// connection ends with a reset, so that no port stays taken. Others who connect
// meanwhile get no answer.
//
// # What is not proved
//
// A packet that a socket of the pod sends is new to nat at OUTPUT, and never again at
// PREROUTING. So the chain for connections from other machines cannot be met from
// inside in mode REDIRECT. Not even by a frame that is put on the loopback interface
// (packet(7)): it would be redirected to 127.0.0.1, and a packet to there that was
// routed anew is dropped (net/ipv4/route.c, martian destination). The end of the
// chain, ISTIO_IN_REDIRECT, is proved by the proxy's calls to its own pod. In mode
// TPROXY the mark of these calls leads through the chain itself. What cannot be made
// is a [Result] of its own, NotChecked with the reason.
package selftest
