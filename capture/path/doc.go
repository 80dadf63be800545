// Package path owns the way of a connection through rules: which hooks, tables and rules its
// packet passes in the kernel's order, where it ends, which rule decided that, and which
// connection the proxy opens next.
//
// [Follow] is pure. What the rules do not say, the routes and who the proxy is, is given to it.
package path
