package netutil

import "testing"

func TestNameServices(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, conf string
		want       bool
	}{
		{"nothing", "", false},
		{"files", "passwd: files\ngroup: files\n", false},
		{"debian", "passwd:         files systemd\ngroup:          files systemd\nhosts: files dns\nnetgroup: nis\n", false},
		{"directory-of-users", "passwd: files sss\ngroup: files\n", true},
		{"directory-of-groups", "passwd: files\ngroup: files ldap", true},
		{"directory-first", "\tpasswd :\tsss files\n", true},
		{"compat-may-mean-anybody", "passwd: compat\n", true},
		{"condition", "passwd: files [NOTFOUND=return] systemd\n", true}, // too careful
		{"comments", "# passwd: sss\n#group: sss\n\npasswd: files\n", false},
		{"other-databases", "shadow: sss\nsudoers: sss\npasswd_compat: nis\n", false},
		{"no-colon", "passwd sss\n", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := asksOthers(tt.conf); got != tt.want {
				t.Errorf("want %t, got %t", tt.want, got)
			}
		})
	}
}
