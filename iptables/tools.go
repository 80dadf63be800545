package iptables

// SaveTool returns the name of the program that prints the rules of a family.
func SaveTool(f Family) string {
	if f == IPv6 {
		return "ip6tables-save"
	}
	return "iptables-save"
}
