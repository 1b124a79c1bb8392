// Command seedagent is the private side of the original system, kept as it was, faults included: it
// trusts any hub, forwards to any host it is asked for, and does not reconnect.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/yamux"
)

func direct(r *http.Request) {
	target := r.Header.Get("X-Proxy-Host")
	r.Header.Set("X-Forwarded-Host", r.Host)
	r.Header.Set("X-Origin-Host", target)
	r.URL.Scheme = "http"
	r.URL.Host = target
	r.URL.Path = r.Header.Get("X-Proxy-Path")
	r.Host = target
}

func main() {
	address := flag.String("hub", "ws://127.0.0.1:8882", "URL of the hub")
	id := flag.String("id", "agent", "id to attach as")
	flag.Parse()
	websocket.DefaultDialer.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	url := strings.TrimSuffix(*address, "/") + "/api/v1/hubs/" + *id
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	session, err := yamux.Client(conn.UnderlyingConn(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("attached", conn.RemoteAddr())
	server := &http.Server{Handler: &httputil.ReverseProxy{Director: direct}}
	stopped := make(chan struct{})
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		<-signals
		if err := server.Shutdown(context.Background()); err != nil {
			log.Println(err)
		}
		close(stopped)
	}()
	if err := server.Serve(session); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}
