// Package infer owns the way back: from the rules of one family, whoever wrote them, to the
// configuration that asks for them and the reason why each is there. The rules may be of this
// program or of any release of Istio's.
//
// It also recognises what foreign rules capture: [Inference.Redirects], and the [Mesh] that made
// them.
//
// [Infer] and [Configuration] are pure and total. A rule that they do not know has no reason.
package infer
