package netutil

import (
	"strings"
	"testing"
)

func TestContainersByTheirControlGroups(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("0123456789abcdef", 4)
	const uid = "3f2b1c6a-1111-2222-3333-0123456789ab"
	for _, tt := range []struct {
		name, cgroup string
		want         Container
	}{
		{"systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + id + ".scope\n", Container{id, uid}},
		{"crio", "0::/kubepods.slice/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/crio-" + id + ".scope", Container{id, uid}},
		{"cgroupfs", "0::/kubepods/besteffort/pod" + uid + "/" + id, Container{id, uid}},
		{"version-1", "11:memory:/kubepods/pod" + uid + "/" + id + "\n10:cpu:/", Container{id, uid}},
		{"docker", "0::/system.slice/docker-" + id + ".scope", Container{ID: id}},
		{"containerd-slice", "0::/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice:cri-containerd:" + id, Container{ID: id}},
		{"service", "0::/system.slice/ssh.service", Container{}},
		{"none", "", Container{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := containerOf(tt.cgroup); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
