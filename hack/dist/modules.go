package main

import (
	"bytes"
	"io"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/licensedetect/local"
	"github.com/rs/zerolog"
)

// moduleList returns the modules in a binary and the standard library, with their
// licenses, in the JSON of CycloneDX 1.5.
func (r release) moduleList(binary string) ([]byte, error) {
	list, err := r.modules(binary)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = encode(list, &text)
	return text.Bytes(), err
}

// modules is that list. It has no serial number, which would be a random one.
func (r release) modules(binary string) (*cdx.BOM, error) {
	generator, err := bin.NewGenerator(binary,
		bin.WithVersionOverride(r.version), bin.WithIncludeStdlib(true), bin.WithShortPURLS(true),
		bin.WithLicenseDetector(local.NewDetector(zerolog.Nop())), bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return nil, err
	}
	list, err := generator.Generate()
	if err != nil {
		return nil, err
	}
	list.Metadata.Timestamp = r.timestamp()
	list.Metadata.Component.Licenses = licensed("Apache-2.0")
	for i, c := range *list.Components {
		// The detector does not find that of the standard library, and takes that of x/sys for another one.
		if c.Name == "std" || strings.HasPrefix(c.Name, "golang.org/x/") {
			(*list.Components)[i].Licenses, (*list.Components)[i].Evidence = licensed("BSD-3-Clause"), nil
		}
	}
	return list, nil
}

func licensed(id string) *cdx.Licenses {
	return &cdx.Licenses{{License: &cdx.License{ID: id}}}
}

// timestamp is the time of the release as CycloneDX has it.
func (r release) timestamp() string { return r.time.Format(time.RFC3339) }

// encode writes a list in the JSON of CycloneDX 1.5.
func encode(list *cdx.BOM, w io.Writer) error {
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(list, cdx.SpecVersion1_5)
}
