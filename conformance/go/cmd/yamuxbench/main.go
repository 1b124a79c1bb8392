// Command yamuxbench runs the cases of hashicorp/yamux's own benchmarks over loopback TCP, both ends
// in this process, and prints one line of JSON for each case named in its arguments.
//
// An argument is CASE:COUNT:SIZE with CASE one of ping, accept, sendrecv, large, parallel, frames, and
// those of scale.go: streams, fair, wan. COUNT is what is done in all: pings, streams, writes of SIZE
// bytes. sendrecv and large write on one stream, parallel on as many as there are processors, frames on
// 100 in turn from one goroutine.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
)

const frameStreams = 100

var (
	listen = flag.String("listen", "127.0.0.1:0", "where the far end listens")
	dial   = flag.String("dial", "", "what the near end dials: a relay to it; straight to it when empty")
)

// A read takes this much in case large, as in the reference's own.
const largeRead = 4 << 10

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// pair gives both ends of a session with the default settings, keepalive off.
func pair() (client, server *yamux.Session) {
	listener, err := net.Listen("tcp", *listen)
	check(err)
	defer listener.Close()
	address := *dial
	if address == "" {
		address = listener.Addr().String()
	}
	dialed, err := net.Dial("tcp", address)
	check(err)
	accepted, err := listener.Accept()
	check(err)
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = false
	config.LogOutput = io.Discard
	client, err = yamux.Client(dialed, config)
	check(err)
	server, err = yamux.Server(accepted, config)
	check(err)
	return client, server
}

func ping(client, _ *yamux.Session, count, _ int) {
	for range count {
		_, err := client.Ping()
		check(err)
	}
}

func accept(client, server *yamux.Session, count, _ int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range count {
			stream, err := server.AcceptStream()
			check(err)
			check(stream.Close())
		}
	}()
	for range count {
		stream, err := client.OpenStream()
		check(err)
		check(stream.Close())
	}
	<-done
}

// transfer writes size bytes count times on one stream while the other end reads pieces of read bytes.
func transfer(client, server *yamux.Session, count, size, read int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		stream, err := server.AcceptStream()
		check(err)
		buffer := make([]byte, read)
		for left := count * size; left > 0; left -= read {
			_, err := io.ReadFull(stream, buffer[:min(read, left)])
			check(err)
		}
	}()
	stream, err := client.OpenStream()
	check(err)
	body := make([]byte, size)
	for range count {
		_, err := stream.Write(body)
		check(err)
	}
	<-done
}

func sendrecv(client, server *yamux.Session, count, size int) {
	transfer(client, server, count, size, size)
}

func large(client, server *yamux.Session, count, size int) {
	transfer(client, server, count, size, largeRead)
}

// drain accepts and discards this many streams to their ends.
func drain(server *yamux.Session, streams int) *sync.WaitGroup {
	var wait sync.WaitGroup
	for range streams {
		wait.Add(1)
		go func() {
			defer wait.Done()
			stream, err := server.AcceptStream()
			check(err)
			_, err = io.Copy(io.Discard, stream)
			check(err)
		}()
	}
	return &wait
}

func parallel(client, server *yamux.Session, count, size int) {
	streams := runtime.GOMAXPROCS(0)
	ended := drain(server, streams)
	for range streams {
		go func() {
			stream, err := client.OpenStream()
			check(err)
			body := make([]byte, size)
			for range count / streams {
				_, err := stream.Write(body)
				check(err)
			}
			check(stream.Close())
		}()
	}
	ended.Wait()
}

func frames(client, server *yamux.Session, count, size int) {
	ended := drain(server, frameStreams)
	streams := make([]*yamux.Stream, frameStreams)
	for i := range streams {
		var err error
		streams[i], err = client.OpenStream()
		check(err)
	}
	body := make([]byte, size)
	for i := range count {
		_, err := streams[i%frameStreams].Write(body)
		check(err)
	}
	for _, stream := range streams {
		check(stream.Close())
	}
	ended.Wait()
}

var cases = map[string]func(client, server *yamux.Session, count, size int){
	"ping": ping, "accept": accept, "sendrecv": sendrecv, "large": large, "parallel": parallel, "frames": frames,
}

func used() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func main() {
	out := json.NewEncoder(os.Stdout)
	flag.Parse()
	for _, argument := range flag.Args() {
		words := strings.Split(argument, ":")
		if len(words) != 3 || (cases[words[0]] == nil && scales[words[0]] == nil) {
			log.Fatalf("CASE:COUNT:SIZE expected, not %q", argument)
		}
		count, err := strconv.Atoi(words[1])
		check(err)
		size, err := strconv.Atoi(words[2])
		check(err)
		client, server := pair()
		runtime.GC()
		cpu, start := used(), time.Now()
		figures := map[string]any{"case": argument}
		if scale := scales[words[0]]; scale != nil {
			scale(client, server, count, size, figures)
		} else {
			cases[words[0]](client, server, count, size)
			figures["seconds"] = time.Since(start).Seconds()
		}
		figures["cpu"] = used() - cpu
		check(out.Encode(figures))
		client.Close()
		server.Close()
	}
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "yamuxbench CASE:COUNT:SIZE...")
		os.Exit(2)
	}
}
