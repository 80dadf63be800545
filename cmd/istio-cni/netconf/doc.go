// Package netconf reads the entry of the plugin in a network configuration, as a container
// runtime hands it to the plugin.
//
// An entry of Istio's plugin works unchanged: name, type, exclude_namespaces, pod_namespace,
// native_nftables, plugin_log_level and ambient_enabled are read, and of older releases
// log_level and kubernetes.exclude_namespaces. Its other keys have no effect, and neither do
// keys that are not known: libcni and newer releases add some.
//
// Ours are added:
//
//	"capabilities": {"io.kubernetes.cri.pod-annotations": true}   without it no annotation arrives
//	"defaults": {"redirect_dns": true, "proxy_uid": 1000629999}   where a pod says nothing of it
//	"on_missing_annotations": "fail"                              or "skip", where none arrive
//	"timeout": "10s"                                              of an ADD or a CHECK
//
// The keys of defaults are the long names of the options of istio-init that describe rules, and
// native-nftables, with dashes or underscores. An option that has only a variable is named by that.
//
// A wrong value is an error that names its key. The rest of the entry is read all the same, so
// that a pod of an excluded namespace, or one that was not injected, starts whatever else is wrong.
package netconf
