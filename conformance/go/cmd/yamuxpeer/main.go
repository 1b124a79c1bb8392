// Command yamuxpeer holds one session of hashicorp/yamux over one TCP or TLS connection and does what
// its standard input says, so that a test can drive the reference implementation step by step.
//
// It listens on a loopback port, prints "listening ADDRESS", and accepts one connection: the other
// side always dials, whatever its yamux role. Each line of input is one command; "&" in front runs
// it beside the next ones. Each command gives one line of JSON carrying its number "n" (counted from
// 1), "cmd", and its results or "error" and "kind". Log lines of the session go to standard error.
//
// Bytes written by "write" follow a pattern: the byte at offset o of a stream is o modulo 251.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

type result map[string]any

var output struct {
	lock sync.Mutex
	json *json.Encoder
}

func say(r result) {
	output.lock.Lock()
	defer output.lock.Unlock()
	if err := output.json.Encode(r); err != nil {
		os.Exit(1)
	}
}

func accept(listener net.Listener, certificate, key string) (net.Conn, error) {
	conn, err := listener.Accept()
	listener.Close()
	if err != nil || certificate == "" {
		return conn, err
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
	return secured, secured.Handshake()
}

func main() {
	role := flag.String("role", "server", "yamux role of this side: server or client")
	window := flag.Uint("window", 256*1024, "MaxStreamWindowSize in bytes")
	backlog := flag.Int("backlog", 256, "AcceptBacklog")
	keepalive := flag.Duration("keepalive", 0, "KeepAliveInterval; 0 switches keepalive off")
	write := flag.Duration("write-timeout", 10*time.Second, "ConnectionWriteTimeout")
	open := flag.Duration("open-timeout", 75*time.Second, "StreamOpenTimeout")
	closing := flag.Duration("close-timeout", 5*time.Minute, "StreamCloseTimeout")
	certificate := flag.String("cert", "", "PEM certificate; with it the connection is TLS")
	key := flag.String("key", "", "PEM key of the certificate")
	flag.Parse()

	output.json = json.NewEncoder(os.Stdout)
	config := yamux.DefaultConfig()
	config.MaxStreamWindowSize = uint32(*window)
	config.AcceptBacklog = *backlog
	config.EnableKeepAlive = *keepalive != 0
	if *keepalive != 0 {
		config.KeepAliveInterval = *keepalive
	}
	config.ConnectionWriteTimeout = *write
	config.StreamOpenTimeout = *open
	config.StreamCloseTimeout = *closing
	config.LogOutput = os.Stderr

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	// Nobody who starts this program waits longer; without a limit it would outlive a killed test.
	if err := listener.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	conn, err := accept(listener, *certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	counted := &countedConn{Conn: conn}
	start := yamux.Server
	if *role == "client" {
		start = yamux.Client
	}
	session, err := start(counted, config)
	if err != nil {
		log.Fatal(err)
	}
	say(result{"event": "session-open", "role": *role})
	go func() {
		<-session.CloseChan()
		say(result{"event": "session-closed"})
	}()
	newPeer(session, counted).obey(bufio.NewScanner(os.Stdin))
}

// obey runs commands until the input ends or says quit.
func (p *peer) obey(lines *bufio.Scanner) {
	lines.Buffer(nil, 1<<24)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		beside := strings.HasPrefix(line, "&")
		words := strings.Fields(strings.TrimPrefix(line, "&"))
		if len(words) == 0 {
			say(result{"n": n, "error": "empty command", "kind": "usage"})
			continue
		}
		if words[0] == "quit" {
			say(result{"n": n, "cmd": "quit"})
			return
		}
		if beside {
			go p.report(n, words)
		} else {
			p.report(n, words)
		}
	}
}

func (p *peer) report(n int, words []string) {
	r, err := p.run(words)
	if r == nil {
		r = result{}
	}
	r["n"], r["cmd"] = n, words[0]
	if err != nil {
		r["error"], r["kind"] = err.Error(), kind(err)
	}
	say(r)
}
