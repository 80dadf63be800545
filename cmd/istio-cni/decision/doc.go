// Package decision decides from the annotations of a pod whether its traffic is captured, and
// by which options.
//
// Istio's injector writes what it has done into annotations, and the container runtime hands
// them to the plugin. So a decision needs neither the API server nor the container's
// environment. [Decide] is pure: the same entry and the same annotations have the same decision.
//
// # Which pods
//
// The rules, in their order; the first that holds decides. What is not known to be an injected
// pod passes, and never fails but by the second and the third rule:
//
//  1. A pod of an excluded namespace, or of Istio's own agent: skip.
//  2. The entry says ambient_enabled: fail, since pods of ambient cannot be told apart and would
//     not be captured.
//  3. No annotations arrived, though every runtime that can pass them passes an empty map too:
//     fail, or skip with on_missing_annotations.
//  4. No sidecar.istio.io/status: skip. It is written by the injector alone.
//  5. It lists istio-init: skip, that container makes the rules.
//  6. It does not list istio-validation: skip. The injector adds that container where, and only
//     where, the pod waits for rules of a CNI plugin: not to gateways, not to proxyless gRPC, and
//     not in mode NONE.
//  7. sidecar.istio.io/interceptionMode is NONE: skip.
//  8. DISABLE_ENVOY is true, or the arguments of the pod's own istio-proxy name another role than
//     sidecar: skip, as Istio's plugin does.
//  9. A value is wrong: fail, with all wrong values. A status that is no JSON object is one.
//  10. Otherwise the rules are made.
//
// The annotations sidecar.istio.io/inject and inject.istio.io/templates are not read: the label
// of the same name, which is not passed on, wins over the first, and templates have aliases.
//
// # Which options
//
// Each option has its sources, the first that has a value counts, and each value keeps the name
// of its source:
//
//   - Mode and lists: their annotation, defaults, what Istio's plugin does. A present and empty
//     annotation is a value. To the excluded inbound ports 15020, 15021 and 15090 are added.
//   - What the proxy has as a variable (ISTIO_META_DNS_CAPTURE, ISTIO_DUAL_STACK, INVALID_DROP,
//     owner groups, the loopback CIDR): proxy.istio.io/overrides, proxy.istio.io/config, the hint
//     annotation, defaults.
//   - User and group of the proxy: proxy.istio.io/overrides, the hint annotation, defaults, 1337.
//     In TPROXY the user is always 1337, and the group is that of overrides, or 1337.
//   - All other options: defaults.
//
// DNS capture is always that of --redirect-dns with --capture-all-dns: the plugin reads the
// resolv.conf of the node, which is not the pod's.
//
// # Hints
//
// What no annotation of Istio tells, such as mesh-wide settings and the user that OpenShift
// chooses, can be told by annotations whose names are hints.istio-init/ and the name of the
// option, as in hints.istio-init/proxy-uid: "1000629999" or hints.istio-init/redirect-dns:
// "true". A template of the injector can write them. An empty hint is none.
package decision
