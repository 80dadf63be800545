package report

// schemaNumber is the number of the format of all documents. It rises when a key goes or
// changes its meaning; new keys leave it as it is.
const schemaNumber = 1

// A header begins every document.
type header struct {
	Schema int  `json:"schema" jsonschema:"the number of the format: it rises when a key goes or changes its meaning, not when one joins"`
	Kind   kind `json:"kind" jsonschema:"what the document is"`
}

func newHeader(k kind) header { return header{schemaNumber, k} }

// A kind names what a document is.
type kind string

// The kinds of documents of this package.
const (
	kindState      kind = "state"      // check without flags for rules
	kindDrift      kind = "drift"      // check with them
	kindNamespaces kind = "namespaces" // check --all-namespaces
	kindPath       kind = "path"       // trace
	kindApply      kind = "apply"      // apply
	kindClean      kind = "clean"      // clean
	kindVersion    kind = "version"    // version
	kindError      kind = "error"      // any command, where it has failed
)
