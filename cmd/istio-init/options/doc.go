// Package options turns what users write into types: flags, environment variables
// and the configuration file into a [Run] with a capture.Config.
//
// There is one table of options. Flags, variables, keys of the file, help, errors,
// the printed configuration and the JSON schema come from it. A flag wins over the
// environment, that over the file, that over the default; each value keeps its
// origin for messages. All problems of the input are reported together. The package
// reads the configuration file and the user database, and nothing of the network
// namespace.
package options
