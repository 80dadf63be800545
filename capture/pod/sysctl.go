package pod

import (
	"fmt"

	"istio-init/capture"
	"istio-init/netutil"
)

// TProxyObstacles returns why mode TPROXY does not work in the current network namespace, by
// its sysctls. The error says why they cannot be read.
func TProxyObstacles() ([]capture.Obstacle, error) {
	read, err := netutil.ReadReceivingSysctls()
	if err != nil {
		return nil, fmt.Errorf("read sysctls: %w", err)
	}
	s := capture.Sysctls{All: capture.InterfaceSysctls(read.All), MarkAccept: read.MarkAccept}
	for _, one := range read.Interfaces {
		s.Interfaces = append(s.Interfaces, capture.InterfaceSysctls(one))
	}
	return s.Obstacles(), nil
}
