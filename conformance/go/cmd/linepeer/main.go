// Command linepeer holds one session of libp2p/go-yamux over loopback TCP and serves every stream the
// other side opens by the first line on it, so that a test drives it through the protocol alone.
//
//	echo        copy back until the end, then end
//	count       read to the end, then say "LENGTH BAD": BAD is the first offset off the pattern, or -1
//	send N      write N pattern bytes, then end
//	drip N      the same, one byte a write
//	reset       reset the stream
//	abandon     close both directions at once, without reading
//	hold        neither read nor write
//	open N SIZE open N streams at once, write SIZE pattern bytes on each, end, read the echo; say "ok N"
//	ping        ping, and say "ok"
//	leave CODE  end the session with this code
//
// It prints "listening ADDRESS" and accepts one connection: the other side dials, whatever its role. The
// byte at offset o of a stream is o modulo 251.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-yamux/v5"
)

const patternPeriod = 251

// Above what any test needs, and an end for what a killed test leaves behind.
const lifetime = 5 * time.Minute

func pattern(offset, size int) []byte {
	piece := make([]byte, size)
	for i := range piece {
		piece[i] = byte((offset + i) % patternPeriod)
	}
	return piece
}

func main() {
	role := flag.String("role", "server", "yamux role of this side: server or client")
	window := flag.Uint("window", 16<<20, "MaxStreamWindowSize in bytes")
	inbound := flag.Uint("inbound", 1000, "MaxIncomingStreams")
	keepalive := flag.Duration("keepalive", 0, "KeepAliveInterval; 0 switches keepalive off")
	flag.Parse()
	config := yamux.DefaultConfig()
	config.MaxStreamWindowSize = uint32(*window)
	config.MaxIncomingStreams = uint32(*inbound)
	config.EnableKeepAlive = *keepalive != 0
	if *keepalive != 0 {
		config.KeepAliveInterval = *keepalive
	}
	config.LogOutput = os.Stderr
	time.AfterFunc(lifetime, func() { os.Exit(3) })

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	conn, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	start := yamux.Server
	if *role == "client" {
		start = yamux.Client
	}
	session, err := start(conn, config, nil)
	if err != nil {
		log.Fatal(err)
	}
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			fmt.Println("session-closed", err)
			return
		}
		go serve(session, stream)
	}
}

func serve(session *yamux.Session, stream *yamux.Stream) {
	lines := bufio.NewReader(stream)
	line, err := lines.ReadString('\n')
	if err != nil {
		_ = stream.Reset()
		return
	}
	words := strings.Fields(line)
	numbers := make([]int, 2)
	for i := range min(len(words)-1, len(numbers)) {
		numbers[i], err = strconv.Atoi(words[i+1])
		if err != nil {
			_ = stream.Reset()
			return
		}
	}
	switch words[0] {
	case "echo":
		_, err = io.Copy(stream, lines)
	case "count":
		length, bad := count(lines)
		_, err = fmt.Fprintf(stream, "%d %d\n", length, bad)
	case "send":
		_, err = stream.Write(pattern(0, numbers[0]))
	case "drip":
		for offset := 0; offset < numbers[0] && err == nil; offset++ {
			_, err = stream.Write(pattern(offset, 1))
		}
	case "open":
		_, err = fmt.Fprintln(stream, burst(session, numbers[0], numbers[1]))
	case "ping":
		_, err = session.Ping()
		if err == nil {
			_, err = fmt.Fprintln(stream, "ok")
		}
	case "hold":
		return
	case "abandon":
		_ = stream.Close()
		return
	case "leave":
		_ = session.CloseWithError(uint32(numbers[0]))
		return
	default:
		_ = stream.Reset()
		return
	}
	if err != nil {
		fmt.Println("stream-failed", words[0], err)
		_ = stream.Reset()
		return
	}
	_ = stream.CloseWrite()
}

func count(source io.Reader) (length, bad int) {
	bad = -1
	buffer := make([]byte, 64<<10)
	for {
		n, err := source.Read(buffer)
		for i := range n {
			if bad < 0 && buffer[i] != byte((length+i)%patternPeriod) {
				bad = length + i
			}
		}
		length += n
		if err == io.EOF {
			return length, bad
		}
		if err != nil {
			return -1, bad
		}
	}
}

// burst gives "ok N", or the first thing that went wrong.
func burst(session *yamux.Session, streams, size int) string {
	results := make(chan error, streams)
	for range streams {
		go func() { results <- roundTrip(session, size) }()
	}
	for range streams {
		if err := <-results; err != nil {
			return err.Error()
		}
	}
	return fmt.Sprintf("ok %d", streams)
}

func roundTrip(session *yamux.Session, size int) error {
	stream, err := session.OpenStream(context.Background())
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := stream.Write(pattern(0, size))
		if err == nil {
			err = stream.CloseWrite()
		}
		sent <- err
	}()
	length, bad := count(stream)
	if length != size || bad >= 0 {
		return fmt.Errorf("stream %d: %d of %d bytes came back, first wrong one at %d", stream.StreamID(), length, size, bad)
	}
	return <-sent
}
