package netutil

import (
	"fmt"
	"net"
)

// Interfaces returns the names of the interfaces, in the order of their numbers.
func Interfaces() ([]string, error) {
	found, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	for _, i := range found {
		names = append(names, i.Name)
	}
	return names, nil
}
