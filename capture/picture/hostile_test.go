package picture

import (
	"fmt"
	"strings"
)

// hostile are foreign rules whose names and comments attack what shows them.
func hostile() string {
	nasty := []string{
		`"><script>alert(1)</script>`, "]]>&lt;&#38;", `\\N\\G"];}`, `back\slash \"quoted\"`, "two\nlines", "\x1b[31mred\x1b[0m\r", "\u202eevil\u200b", "漢字",
		`|"x"| --> n0`, "end;%% #quot; `x`", "\xff\xfe", strings.Repeat("long", 90), strings.Repeat("l o n g ", 60),
	}
	var b strings.Builder
	b.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:A\"<&> - [0:0]\n:ISTIO_\"<&>| - [0:0]\n")
	for _, n := range nasty {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(n)
		fmt.Fprintf(&b, "-A PREROUTING -m comment --comment \"%s\" -j A\"<&>\n", quoted)
		fmt.Fprintf(&b, "-A ISTIO_\"<&>| -m comment --comment \"%s\" -j LOG --log-prefix \"%s\"\n", quoted, quoted)
	}
	b.WriteString("-A OUTPUT -o a<&>|\x01 -j ISTIO_\"<&>|\n-A OUTPUT -i é漢 -j DROP\n-A A\"<&> -j RETURN\nCOMMIT\n")
	return b.String()
}

// many are rules of which most are of few kinds.
func many(n int) string {
	var b strings.Builder
	b.WriteString("*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_REDIRECT - [0:0]\n-A OUTPUT -j KUBE-SERVICES\n-A OUTPUT -j ISTIO_OUTPUT\n")
	for i := range n / 2 {
		fmt.Fprintf(&b, "-A KUBE-SERVICES -d 10.%d.%d.1/32 -j DNAT --to-destination 10.0.0.%d\n", i/256%256, i%256, i%256)
		fmt.Fprintf(&b, "-A ISTIO_OUTPUT -d 10.%d.%d.0/24 -j ISTIO_REDIRECT\n", i/256%256, i%256)
		if i%7 == 0 {
			fmt.Fprintf(&b, "-A ISTIO_OUTPUT -p udp -m udp --dport %d -j RETURN\n", i+1)
		}
	}
	b.WriteString("-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n")
	return b.String()
}

// deep are chains that each call the next one.
func deep(n int) string {
	chains, rules := "", "-A OUTPUT -j ISTIO_0\n"
	for i := range n {
		chains += fmt.Sprintf(":ISTIO_%d - [0:0]\n", i)
		rules += fmt.Sprintf("-A ISTIO_%d -p tcp -m tcp --dport 80 -j ISTIO_%d\n", i, i+1)
	}
	return "*nat\n:OUTPUT ACCEPT [0:0]\n" + chains + fmt.Sprintf(":ISTIO_%d - [0:0]\n", n) + rules + "COMMIT\n"
}

// loops are chains that the kernel would refuse, and one that is not there.
const loops = `*nat
:OUTPUT DROP [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_REDIRECT - [0:0]
-A OUTPUT -j ISTIO_OUTPUT
-A OUTPUT -j GONE
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_OUTPUT -j ISTIO_OUTPUT
-A ISTIO_REDIRECT -g ISTIO_OUTPUT
COMMIT
*unheard-of
:OUTPUT ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
-A OUTPUT -j ISTIO_OUTPUT
COMMIT
`
