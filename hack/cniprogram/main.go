// Command cniprogram is what runs in the pods of the tests in hack/cni, by the name program:
// "program pause" holds the namespaces of a pod, "program proxy" accepts what the rules
// redirect, "program serve ADDRESS" is an app, and "program call ADDRESS ..." prints who
// answered at each.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"istio-init/netutil"
)

// timeout limits a call.
const timeout = 10 * time.Second

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "program: %v\n", err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	switch command {
	case "pause":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
		return nil
	case "proxy":
		return serve([]string{":15001", ":15006"}, proxied)
	case "serve":
		return serve(args, func(net.Conn) string { return "direct" })
	}
	for _, addr := range args {
		who, err := call(addr)
		if err != nil {
			return err
		}
		fmt.Println(who)
	}
	return nil
}

// call returns what the server of a connection says.
func call(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", err
	}
	who, err := io.ReadAll(conn)
	return string(who), err
}

// serve answers each connection with the text of it, until a listener fails.
func serve(addrs []string, answer func(net.Conn) string) error {
	failed := make(chan error)
	for _, addr := range addrs {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					failed <- err
					return
				}
				_, _ = io.WriteString(conn, answer(conn))
				conn.Close()
			}
		}()
	}
	return <-failed
}

// proxied returns the port of the proxy and the original destination of a redirected
// connection.
func proxied(conn net.Conn) string {
	local := conn.LocalAddr().(*net.TCPAddr)
	dst, err := netutil.OriginalDst(conn.(*net.TCPConn))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("proxy %d %s", local.Port, dst)
}
