// Command app is the app in the pod of the end-to-end tests: "app serve :8080 ..."
// serves HTTP, "app call URL ..." makes requests and prints the path of each, and "app
// pause" holds the namespaces of a pod.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"istio-init/hack/e2e/echo"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "app: %v\n", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "serve":
		return serve(args)
	case "pause":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
		return nil
	}
	for _, url := range args {
		way, err := echo.Call(context.Background(), &http.Transport{}, url)
		if err != nil {
			return err
		}
		fmt.Println(way)
	}
	return nil
}

// serve serves at several addresses, until one of them fails.
func serve(addrs []string) error {
	failed := make(chan error)
	for _, addr := range addrs {
		server := &http.Server{Addr: addr, Handler: echo.Handler, ReadHeaderTimeout: echo.Timeout}
		go func() { failed <- server.ListenAndServe() }()
	}
	return <-failed
}
