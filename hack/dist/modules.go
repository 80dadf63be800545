package main

import (
	"bytes"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

// moduleList returns the modules in a binary and the standard library, in the JSON
// of CycloneDX 1.5. It has no serial number, which would be a random one.
func (r release) moduleList(binary string) ([]byte, error) {
	generator, err := bin.NewGenerator(binary,
		bin.WithVersionOverride(r.version), bin.WithIncludeStdlib(true), bin.WithShortPURLS(true),
		bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return nil, err
	}
	list, err := generator.Generate()
	if err != nil {
		return nil, err
	}
	list.Metadata.Timestamp = r.time.Format(time.RFC3339)
	var text bytes.Buffer
	err = cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(list, cdx.SpecVersion1_5)
	return text.Bytes(), err
}
