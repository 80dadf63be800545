package xtables

import (
	"errors"

	"istio-init/netutil/inet"
)

// A Variant is one of the two kernel interfaces behind the name iptables.
type Variant uint8

// The variants, in the order of preference.
const (
	NFT    Variant = iota // xtables rules in nf_tables
	Legacy                // the older xtables
)

// Variants are both variants in their order.
var Variants = [...]Variant{NFT, Legacy}

// String returns "nft" or "legacy".
func (v Variant) String() string {
	if v == Legacy {
		return "legacy"
	}
	return "nft"
}

// UnmarshalText takes "nft" or "legacy".
func (v *Variant) UnmarshalText(text []byte) error {
	for _, known := range Variants {
		if string(text) == known.String() {
			*v = known
			return nil
		}
	}
	return errors.New("is not legacy or nft")
}

// of names a family of the variant.
func (v Variant) of(f inet.Family) string { return f.String() + " " + v.String() }
