package report

import (
	"strings"

	"istio-init/capture"
)

// ObstacleText says which sysctls have packets of mode TPROXY lost, and what helps.
func ObstacleText(o capture.Obstacle) string {
	lost := "inbound ipv4 packets of mode TPROXY on " + o.Interface + " are dropped"
	if o.Interface == "" {
		lost = "answers to inbound connections of mode TPROXY do not reach the peer"
	}
	var remedies []string
	for _, r := range o.Remedies {
		remedies = append(remedies, settings(r))
	}
	return lost + " by " + settings(o.Because) + "; set " + strings.Join(remedies, ", or ")
}

func settings(list []capture.Setting) string {
	var texts []string
	for _, s := range list {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, " and ")
}
