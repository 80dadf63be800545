// Package echo has the HTTP server and client of the end-to-end tests. The server answers
// with the body of the request and with the addresses of the connection; the client
// compares them.
package echo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Timeout limits a call.
const Timeout = 10 * time.Second

// The headers of an answer. Proxy is set by the sidecars of the tests.
const (
	headerProxy  = "Proxy"
	headerServer = "Server-Address"
	headerClient = "Client-Address"
)

// Handler answers with the body of the request.
var Handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	w.Header().Set(headerServer, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	w.Header().Set(headerClient, client)
	_, _ = w.Write(body)
})

// Call sends a small and a large body and returns their path in one line: the proxy or
// "direct", the address of the server, and the client's address as the server saw it.
func Call(ctx context.Context, transport http.RoundTripper, url string) (string, error) {
	client := &http.Client{Transport: transport, Timeout: Timeout}
	var ways []string
	for _, size := range []int{1, 1 << 20} {
		way, err := call(ctx, client, url, bytes.Repeat([]byte{'x'}, size))
		if err != nil {
			return "", fmt.Errorf("%d bytes to %s: %w", size, url, err)
		}
		ways = append(ways, way)
	}
	if ways[0] != ways[1] {
		return "", fmt.Errorf("%s: one request went %q and the next %q", url, ways[0], ways[1])
	}
	return ways[0], nil
}

func call(ctx context.Context, client *http.Client, url string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if !bytes.Equal(body, got) {
		return "", fmt.Errorf("%d bytes came back, with status %s", len(got), resp.Status)
	}
	return way(resp.Header.Get(headerProxy), resp.Header.Get(headerServer), resp.Header.Get(headerClient)), nil
}

// Way returns what [Call] returns for a connection to a server, with the client's address
// as the server sees it. proxy is the name of the proxy on the path; "": none.
func Way(proxy string, server netip.AddrPort, client netip.Addr) string {
	if proxy != "" {
		proxy = fmt.Sprintf("%s %s %d", proxy, server.Addr(), server.Port())
	}
	return way(proxy, server.String(), client.String())
}

func way(proxy, server, client string) string {
	if proxy == "" {
		proxy = "direct"
	}
	return fmt.Sprintf("%s, server %s, client %s", proxy, server, client)
}
