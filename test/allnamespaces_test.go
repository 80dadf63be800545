package test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/schemas"
	"istio-init/test/size"
)

// allNamespaces makes network namespaces in a mount and a PID namespace of their own, where no
// other is seen, and checks them all. It prints what each has before and behind that.
const allNamespaces = `set -e
mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
inside() { ip netns exec "$@"; }
link() {
	inside $1 ip link set lo up && inside $1 ip link add eth0 type veth peer name peer0
	inside $1 ip addr add 10.244.0.2/24 dev eth0 && inside $1 ip link set peer0 up && inside $1 ip link set eth0 up && inside $1 ip route add default dev eth0
}
for n in $(seq "$1"); do ip netns add many-$n; done
for n in nothing redirect dns legacy native drifted linkerd foreign empty-legacy broken; do ip netns add $n; link $n; done
flags="--log_output_level error --ip-family ipv4 -u 1337 -i * -b *"
set -f
{
inside redirect istio-init apply $flags
inside dns istio-init apply $flags --redirect-dns --capture-all-dns -m TPROXY --compat 1.15
inside legacy istio-init apply $flags --force-iptables-binary legacy -d 15090
inside native istio-init apply $flags --native-nftables -d 15090 -x 10.1.0.0/16,10.2.0.0/16
inside drifted istio-init apply $flags -d 15090
inside drifted iptables-nft -t nat -A ISTIO_INBOUND -p tcp --dport 81 -j RETURN
inside drifted iptables-nft -t nat -D ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
inside linkerd iptables-nft -t nat -N PROXY_INIT_REDIRECT
inside linkerd iptables-nft -t nat -A PROXY_INIT_REDIRECT -p tcp -j REDIRECT --to-port 4143
inside linkerd iptables-nft -t nat -A PREROUTING -j PROXY_INIT_REDIRECT
inside foreign iptables-legacy -t filter -A OUTPUT -p tcp --dport 25 -j DROP
inside empty-legacy iptables-legacy -t mangle -S
inside broken istio-init apply $flags
inside broken iptables-nft -t nat -I PREROUTING -j ACCEPT
inside broken iptables-nft -t nat -I OUTPUT -j ACCEPT
touch "$2/bound file" && unshare --net="$2/bound file" istio-init apply $flags
ip netns add twice && mount --bind /run/netns/twice "$2/second"
unshare --net sleep 1000 & process=$!
unshare --user --map-root-user --net sleep 1000 & user=$!
while [ "$(readlink /proc/$process/ns/net)" = "$(readlink /proc/self/ns/net)" ] || [ "$(readlink /proc/$user/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do kill -0 $process; kill -0 $user; done
istio-init apply --network-namespace /proc/$user/ns/net $flags -u 0 -g 0
echo stale >/run/netns/stale
} >&2
state() {
	for n in /run/netns/[a-z]* /proc/$process/ns/net /proc/$user/ns/net "$2/bound file"; do
		[ $n = /run/netns/stale ] || nsenter --net="$n" sh -c 'echo "$0"; cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft list ruleset' "$n"
	done
}
set +f
state "$@" >"$2/before"
code=0; istio-init check --all-namespaces >"$2/text" || code=$?
code=0; istio-init check --all-namespaces --output json || code=$?
echo $code >"$2/code"
istio-init check --all-namespaces --output json --ip-family ipv4 -u 1337 -i '*' -b '*' >"$2/flags" || :
setpriv --reuid 65534 --regid 65534 --clear-groups istio-init check --all-namespaces --output json >"$2/user" || :
state "$@" >"$2/after"
kill $process $user
`

// allWanted are the namespaces by name: the result, whose rules, how many lines are missing
// and unexpected, the generation.
var allWanted = map[string]string{
	"nothing":      "not-captured [] -",
	"redirect":     "captured [istio] nft REDIRECT current 0 0",
	"dns":          "captured [istio] nft TPROXY 1.15 0 0",
	"legacy":       "captured [istio] legacy REDIRECT current 0 0",
	"native":       "captured [istio] nftables REDIRECT current 0 0",
	"drifted":      "captured [istio] nft REDIRECT current 2 1",
	"linkerd":      "foreign [linkerd] -",
	"foreign":      "not-captured [] -",
	"empty-legacy": "not-captured [] -",
	"broken":       "broken [istio] nft REDIRECT current 0 0",
	"bound file":   "captured [istio] nft REDIRECT current 0 0",
	"twice":        "not-captured [] -",
	"user":         "captured [istio] nft REDIRECT current 0 0",
	"process":      "not-captured [] -",
}

// A checkedNamespace is a namespace of check --all-namespaces --output json.
type checkedNamespace struct {
	Files     []string
	PID       int
	Command   string
	Processes int
	Error     string
	State     *struct {
		Result, Backend string
		CapturedBy      []string `json:"captured_by"`
		Configuration   *struct{ Mode, Generation string }
	}
	Drift *struct {
		Families []struct{ Lines []struct{ Op string } }
	}
}

// TestAllNamespacesAreCheckedAndLeftAsTheyAre has 30 namespaces besides, and 200 with STRESS=1.
func TestAllNamespacesAreCheckedAndLeftAsTheyAre(t *testing.T) {
	needKernel(t)
	t.Parallel()
	many := 30
	if size.Stress() {
		many = 200
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net", "sh", "-c", "touch \"$2/second\"\n"+allNamespaces, "sh", strconv.Itoa(many), dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	t.Logf("all of it: %v", time.Since(begun))
	if diff := cmp.Diff(readText(t, dir+"/before"), readText(t, dir+"/after")); diff != "" {
		t.Errorf("check has changed something (-before +after):\n%s", diff)
	}
	if code := strings.TrimSpace(readText(t, dir+"/code")); code != strconv.Itoa(exitDrifted) {
		t.Errorf("exit code %s, want %d", code, exitDrifted)
	}
	got := map[string]string{}
	for _, n := range checkedNamespaces(t, stdout.Bytes()) {
		name := n.name()
		if strings.HasPrefix(name, "many-") {
			many--
			if n.text() != "not-captured [] -" {
				t.Errorf("%q: %s", n.Files, n.text())
			}
			continue
		}
		if got[name] != "" {
			t.Errorf("%s is there twice", name)
		}
		got[name] = n.text()
	}
	delete(got, "own")
	if diff := cmp.Diff(allWanted, got); diff != "" || many != 0 {
		t.Errorf("%d are missing, namespaces (-want +got):\n%s\n%s", many, diff, readText(t, dir+"/text"))
	}
	for _, want := range []string{"drifted", "2 missing, 1 unexpected", "note: no network namespaces: /run/netns/stale", "broken: problem: ipv4: "} {
		if !strings.Contains(readText(t, dir+"/text"), want) {
			t.Errorf("want %q in the text:\n%s", want, readText(t, dir+"/text"))
		}
	}
	for _, n := range checkedNamespaces(t, []byte(readText(t, dir+"/flags"))) {
		if name := n.name(); name == "redirect" && n.text() != allWanted[name] || name == "legacy" && !strings.HasSuffix(n.text(), " 1") {
			t.Errorf("with flags: %s: %s", name, n.text())
		}
	}
	for _, n := range checkedNamespaces(t, []byte(readText(t, dir+"/user"))) {
		if n.Error == "" && n.State == nil {
			t.Errorf("as another user: %q has neither a state nor an error", n.Files)
		}
	}
}

// checkedNamespaces reads a document, which has to be of its schema.
func checkedNamespaces(t *testing.T, document []byte) []checkedNamespace {
	t.Helper()
	if kind, err := schemas.Validate(top, document); err != nil || kind != "namespaces" {
		t.Fatalf("a document of the kind %q: %v\n%s", kind, err, document)
	}
	var got struct{ Namespaces []checkedNamespace }
	if err := json.Unmarshal(document, &got); err != nil {
		t.Fatal(err)
	}
	return got.Namespaces
}

// name is the last part of the first file; of a namespace without files, what is known of it.
func (n checkedNamespace) name() string {
	switch {
	case len(n.Files) > 0:
		return n.Files[0][strings.LastIndexByte(n.Files[0], '/')+1:]
	case n.Command != "sleep":
		return "own"
	case n.State != nil && n.State.Configuration != nil:
		return "user"
	}
	return "process"
}

// text is what is compared.
func (n checkedNamespace) text() string {
	if n.State == nil {
		return "not read: " + n.Error
	}
	by := "[" + strings.Join(n.State.CapturedBy, " ") + "]"
	c := n.State.Configuration
	if c == nil {
		return n.State.Result + " " + by + " -"
	}
	counts := map[string]int{}
	if n.Drift != nil {
		for _, f := range n.Drift.Families {
			for _, l := range f.Lines {
				counts[l.Op]++
			}
		}
	}
	return strings.Join([]string{n.State.Result, by, n.State.Backend, c.Mode, c.Generation, strconv.Itoa(counts["missing"]), strconv.Itoa(counts["unexpected"])}, " ")
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
