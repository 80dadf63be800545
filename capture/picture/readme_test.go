package picture

import "testing"

// TestPicturesOfTheReadmeAreCurrent has those of the command lines of the README:
// the default ones, of IPv4.
func TestPicturesOfTheReadmeAreCurrent(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"redirect-default": "../../docs/redirect.svg", "tproxy-default": "../../docs/tproxy.svg"} {
		golden(t, path, Draw(SVG, Style{}, scenario(t, name)[0]))
	}
}
