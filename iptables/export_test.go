package iptables

// RulesOf is for the tests that need the kernel or its fake, which import this
// package and so cannot be in it.
var RulesOf = rulesOf
